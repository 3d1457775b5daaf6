package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatewayd/gateway/api"
	"gatewayd/sessions"
)

func TestABackupIsTheWholeAnswer(t *testing.T) {
	core := newFake()
	answer, body := call(core, "GET", api.Base+"/backup", "")
	if answer.StatusCode != 200 || body != "all there is" || answer.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %q %v", answer.StatusCode, body, answer.Header)
	}
	core.fail = fmt.Errorf("back up: %w", sessions.ErrUnavailable)
	answer, body = call(core, "GET", api.Base+"/backup", "")
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" || !strings.Contains(body, "gatewayd status") {
		t.Errorf("without a store: %d %q %v", answer.StatusCode, body, answer.Header)
	}
}

// An answer that was begun cannot become a problem: the connection is broken off, so
// that nobody takes what came for a backup.
func TestABackupThatFailsHalfwayIsBrokenOff(t *testing.T) {
	core := newFake()
	core.halfway = errors.New("the disk")
	server := httptest.NewServer(api.New(core, nil, nil, nil, nil, nil))
	defer server.Close()
	answer, err := http.Get(server.URL + api.Base + "/backup")
	if err == nil {
		defer answer.Body.Close()
		_, err = io.ReadAll(answer.Body)
	}
	if err == nil {
		t.Error("the answer came to a good end")
	}
}

func TestARestoreTakesTheBody(t *testing.T) {
	core := newFake()
	large := string(bytes.Repeat([]byte("x"), 3<<20))
	answer, body := call(core, "POST", api.Base+"/restore", large)
	if answer.StatusCode != 204 || body != "" || core.restored != large {
		t.Errorf("%d %q, %d bytes restored", answer.StatusCode, body, len(core.restored))
	}
	for _, row := range []struct {
		fail   error
		status int
		part   string
	}{
		{fmt.Errorf("%w: cut", sessions.ErrBadBackup), 422, "nothing was changed"},
		{fmt.Errorf("restore: %w", sessions.ErrForwarder), 503, "look whether it was done"},
		{errors.New("no"), 500, "log"},
	} {
		core.fail = row.fail
		if answer, body := call(core, "POST", api.Base+"/restore", "x"); answer.StatusCode != row.status || !strings.Contains(body, row.part) {
			t.Errorf("%v: %d %s", row.fail, answer.StatusCode, body)
		}
	}
}

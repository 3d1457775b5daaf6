package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

const secret = "between us"

// ask asks the shop and returns the answer's code and what it says.
func ask(t *testing.T, s *server, method, path, body string, header ...string) (int, session, *httptest.ResponseRecorder) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.routes().ServeHTTP(w, r)
	var v session
	if w.Code < 300 {
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, v, w
}

func opened(t *testing.T, file string) *server {
	t.Helper()
	s, err := open(file, secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What a gateway has counted is taken once, on the version it knew, and is
// still there after a restart.
func TestWhatIsCountedIsTakenOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shop.json")
	s := opened(t, file)
	const path = "/devices/02:00:00:00:00:0C/sessions"
	code, v, _ := ask(t, s, "POST", path, `{"type":1,"data_mb":10,"use_global_speed":true}`)
	if code != http.StatusCreated || v.Device != "02:00:00:00:00:0c" || v.Version != 1 {
		t.Fatalf("sell: %d %+v", code, v)
	}
	used := func(mb float64, seq int, version string) (int, session) {
		t.Helper()
		code, v, _ := ask(t, s, "PUT", "/sessions/1", fmt.Sprintf(`{"type":1,"data_mb":10,"use_global_speed":true,"data_cons":%v}`, mb),
			"Sequence", fmt.Sprint(seq), "If-Match", version)
		return code, v
	}
	for _, row := range []struct {
		name    string
		mb      float64
		seq     int
		version string
		code    int
		cons    float64
	}{
		{"the first", 1.5, 1, `"1"`, 200, 1.5},
		{"it again, its answer was lost", 1.5, 1, `"1"`, 200, 1.5},
		{"the next", 2.25, 2, `"2"`, 200, 2.25},
		{"the first, late", 1.5, 1, `"3"`, 409, 2.25},
		{"upon what it was before", 3, 3, `"2"`, 412, 2.25},
		{"without a version", 3, 3, "", 412, 2.25},
		{"without a number", 3, 0, `"3"`, 409, 2.25},
		{"the third", 3, 3, `"3"`, 200, 3},
	} {
		code, v := used(row.mb, row.seq, row.version)
		if code != row.code || code == 200 && v.DataCons != row.cons {
			t.Errorf("%s: %d %+v, want %d and %v", row.name, code, v, row.code, row.cons)
		}
		s = opened(t, file)
		if _, v, _ = ask(t, s, "GET", "/sessions/1", ""); v.DataCons != row.cons {
			t.Errorf("%s: %v MB used after a restart, want %v", row.name, v.DataCons, row.cons)
		}
	}
	code, v, w := ask(t, s, "PATCH", "/sessions/1", `{"data_mb":20,"sequence":99}`)
	if code != 200 || v.DataMB != 20 || v.DataCons != 3 || v.Sequence != 3 || w.Header().Get("ETag") != `"5"` {
		t.Errorf("a larger plan: %d %+v", code, v)
	}
	if code, _ = used(4, 4, `"4"`); code != 412 {
		t.Errorf("upon what was before the change of the plan: %d, want 412", code)
	}
}

func TestWhatIsLeftIsListed(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "shop.json"))
	const path = "/devices/02:00:00:00:00:0c/sessions"
	for range 3 {
		ask(t, s, "POST", path, `{"type":0,"time_secs":60,"down_mbits":2,"up_mbits":1}`)
	}
	ask(t, s, "PUT", "/sessions/2", `{"type":0,"time_secs":60,"down_mbits":2,"up_mbits":1,"time_cons":60}`, "Sequence", "1", "If-Match", `"1"`)
	for _, row := range []struct{ path, want string }{
		{path, "1 3 1 2"},
		{path + "?page=1&per_page=1", "1 2 2"},
		{path + "?page=2&per_page=1", "3 2 2"},
		{path + "?page=3&per_page=1", "2 2"},
		{"/devices/02:00:00:00:00:0d/sessions", "0 0"},
	} {
		_, _, w := ask(t, s, "GET", row.path, "")
		var list struct {
			Sessions     []session
			Pages, Count int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, v := range list.Sessions {
			got += v.ID + " "
		}
		if got += fmt.Sprint(list.Pages, list.Count); got != row.want {
			t.Errorf("%s: %s, want %s", row.path, got, row.want)
		}
	}
}

func TestWhatTheShopRefuses(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "shop.json"))
	const path = "/devices/02:00:00:00:00:0c/sessions"
	for _, row := range []struct {
		name, method, path, body string
		code                     int
	}{
		{"no such type", "POST", path, `{"type":3,"use_global_speed":true}`, 400},
		{"no time", "POST", path, `{"type":0,"use_global_speed":true}`, 400},
		{"no data", "POST", path, `{"type":2,"time_secs":1,"use_global_speed":true}`, 400},
		{"no speed", "POST", path, `{"type":0,"time_secs":1}`, 400},
		{"an unknown key", "POST", path, `{"type":0,"time":1}`, 400},
		{"not JSON", "POST", path, `{`, 400},
		{"too long", "POST", path, `{"type":` + strings.Repeat(" ", 5000) + `0}`, 400},
		{"no MAC", "POST", "/devices/x/sessions", `{"type":0,"time_secs":1,"use_global_speed":true}`, 400},
		{"no such session", "GET", "/sessions/7", "", 404},
		{"no such session", "PATCH", "/sessions/7", "{}", 404},
	} {
		if code, _, w := ask(t, s, row.method, row.path, row.body); code != row.code {
			t.Errorf("%s: %d %s, want %d", row.name, code, w.Body, row.code)
		}
	}
	if code, _, _ := ask(t, s, "GET", path, "", "Authorization", "Bearer guess"); code != 401 {
		t.Errorf("another secret: %d, want 401", code)
	}
	if _, err := open(filepath.Join(t.TempDir(), "shop.json"), ""); err == nil {
		t.Error("a shop without a secret opens")
	}
}

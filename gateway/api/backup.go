package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

const (
	backupType = "application/octet-stream"
	// partTime is how long a part of a backup may take on its way, and a restore
	// between the last part and the answer.
	partTime    = 30 * time.Second
	restoreTime = 10 * time.Minute
)

// registerBackup adds the two paths whose bodies are streams, which huma would hold in
// memory, and describes them.
func registerBackup(mux *http.ServeMux, api huma.API, core Core) {
	mux.HandleFunc("GET "+Base+"/backup", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", backupType)
		w.Header().Set("Content-Disposition", `attachment; filename="gatewayd.backup"`)
		to := &answerWriter{ResponseWriter: w, control: http.NewResponseController(w)}
		err := core.Backup(r.Context(), to)
		if err != nil && to.wrote {
			panic(http.ErrAbortHandler) // what was sent is no whole answer
		}
		if err != nil {
			w.Header().Del("Content-Disposition")
			writeProblem(w, refused(err))
		}
	})
	mux.HandleFunc("POST "+Base+"/restore", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Now().Add(restoreTime)) // a server without deadlines is fine too
		if err := core.Restore(r.Context(), &bodyReader{r.Body, control}); err != nil {
			writeProblem(w, refused(err))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	file := map[string]*huma.MediaType{backupType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}
	api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "get-backup", Method: http.MethodGet, Path: Base + "/backup",
		Summary: "Everything on disk as of one moment, as a file for restore. An answer that ends early is no backup.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The backup", Content: file}, "503": problemAnswer(http.StatusServiceUnavailable)},
	})
	api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "restore", Method: http.MethodPost, Path: Base + "/restore",
		Summary: "Put a backup in the place of all devices and sessions. It is checked whole before anything is changed; " +
			"then all clients are disconnected, and those whose session ran when it was made go on with their next packet.",
		RequestBody: &huma.RequestBody{Required: true, Content: file},
		Responses: map[string]*huma.Response{
			"204": {Description: "Restored"}, "422": problemAnswer(http.StatusUnprocessableEntity), "503": problemAnswer(http.StatusServiceUnavailable)},
	})
}

func problemAnswer(status int) *huma.Response {
	return &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{
		"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/ErrorModel"}}}}
}

// writeProblem answers with a refusal, outside of huma.
func writeProblem(w http.ResponseWriter, err error) {
	var problem *refusal
	if !errors.As(err, &problem) {
		panic("api: not a refusal: " + err.Error())
	}
	if problem.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(problem.Status)
	json.NewEncoder(w).Encode(problem.ErrorModel)
}

// answerWriter gives each part of an answer its own time.
type answerWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	wrote   bool
}

func (a *answerWriter) Write(b []byte) (int, error) {
	a.wrote = true
	_ = a.control.SetWriteDeadline(time.Now().Add(partTime)) // a server without deadlines is fine too
	return a.ResponseWriter.Write(b)
}

// bodyReader gives each part of a request its own time.
type bodyReader struct {
	io.Reader
	control *http.ResponseController
}

func (b *bodyReader) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(partTime)) // a server without deadlines is fine too
	return b.Reader.Read(p)
}

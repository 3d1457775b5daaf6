package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

// retryAfter is the Retry-After of a 503 in seconds (RFC 9110, 10.2.3): a
// stalled store answers again, or is restarted, within it.
const retryAfter = "5"

// refusal is a problem (RFC 9457) whose detail is already complete.
type refusal struct{ huma.ErrorModel }

// reasons says for each of the sessions room's errors which status it has and
// what to do next; {D} stands for the call's own, {C} for its command.
var reasons = []struct {
	err    error
	status int
	next   string
}{
	{sessions.ErrNoDevice, http.StatusNotFound, "see who is known: gatewayd devices list"},
	{sessions.ErrNoBinding, http.StatusNotFound, "see who is known: gatewayd devices list"},
	{sessions.ErrUnknownSession, http.StatusNotFound, "see which there are: gatewayd sessions list"},
	{sessions.ErrNoSession, http.StatusConflict, "sell it one: gatewayd sessions create --device {D} --type time --time 1h --global"},
	{sessions.ErrPaused, http.StatusConflict, "let it go on: gatewayd resume {D}"},
	{sessions.ErrNotPaused, http.StatusConflict, "see what it does: gatewayd devices show {D}"},
	{sessions.ErrAlreadyConnected, http.StatusConflict, "see its session: gatewayd devices show {D}"},
	{sessions.ErrNotConnected, http.StatusConflict, "connect it first: gatewayd connect {D}"},
	{sessions.ErrConflict, http.StatusConflict, "choose another address, or wait until its holder is gone: gatewayd devices list"},
	{sessions.ErrProvider, http.StatusServiceUnavailable, "see whether it answers: gatewayd status"},
	{sessions.ErrBadPlan, http.StatusUnprocessableEntity, "correct it and send it again: gatewayd sessions {C} --help"},
	{sessions.ErrBadDevice, http.StatusUnprocessableEntity, "correct it and send it again: gatewayd devices add --help"},
	{sessions.ErrBadCursor, http.StatusUnprocessableEntity, "begin again without cursor"},
	{sessions.ErrBadBackup, http.StatusUnprocessableEntity, "nothing was changed; take another file that gatewayd backup wrote"},
	{ErrBadConfig, http.StatusUnprocessableEntity, "the config that runs stays in force; correct the file and reload again"},
	{ErrCaptures, http.StatusConflict, "end one of them (Ctrl-C in its gatewayd capture), and begin again"},
	{ErrAway, http.StatusConflict, "it is captured once it has a place in the table: let it send a packet, or see gatewayd why {D}"},
	{ErrNoConfig, http.StatusConflict, "change it where that program has its config"},
	{sessions.ErrNotLocal, http.StatusConflict, "change it at its provider"},
	{sessions.ErrUnavailable, http.StatusServiceUnavailable, "try again in a few seconds; the reason stands in: gatewayd status"},
	{sessions.ErrForwarder, http.StatusServiceUnavailable, "it is restarted: look whether it was done before asking again, see gatewayd status"},
	{sessions.ErrTableFull, http.StatusServiceUnavailable, "raise limits.clients in the config and restart gatewayd"},
	{sessions.ErrStopped, http.StatusServiceUnavailable, "try again when gatewayd runs: gatewayd status"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "whether it was done is open: look before asking again, see gatewayd status"},
	{context.Canceled, http.StatusServiceUnavailable, "the call was broken off: look before asking again"},
}

// refused makes the problem for err; nil stays nil. call is "{D}" and the
// call's own device, "{C}" and its command if that is not create, or nothing.
func refused(err error, call ...string) error {
	if err == nil {
		return nil
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return newRefusal(r.status, err, strings.NewReplacer(append(call, "{C}", "create")...).Replace(r.next))
		}
	}
	return newRefusal(http.StatusInternalServerError, err, "gatewayd's log says more; its state: gatewayd status")
}

func newRefusal(status int, err error, next string) error {
	detail := err.Error() + "; " + next
	if strings.Contains(err.Error(), "\n") { // its last line is a caret
		detail = err.Error() + "\n" + next
	}
	problem := &refusal{huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}}
	if status == http.StatusServiceUnavailable {
		return huma.ErrorWithHeaders(problem, http.Header{"Retry-After": {retryAfter}})
	}
	return problem
}

// explainInvalid gives the problems that huma makes, of calls that do not fit
// their schema, a detail that says which field, why, and what fits.
func explainInvalid(ctx huma.Context, _ string, answer any) (any, error) {
	problem, ok := answer.(*huma.ErrorModel)
	if !ok {
		return answer, nil
	}
	why := make([]string, 0, len(problem.Errors))
	for _, e := range problem.Errors {
		text := e.Message
		if e.Location != "" {
			text = e.Location + ": " + text
		}
		why = append(why, text)
	}
	detail := problem.Detail
	if len(why) > 0 {
		detail = strings.Join(why, "; ")
	}
	asked := ctx.URL()
	problem.Detail = fmt.Sprintf("%s %s: %s; nothing was changed, what fits is in %s/openapi.json",
		ctx.Method(), asked.Path, detail, Base)
	return problem, nil
}

// knownPaths answers with a problem what mux has no operation for.
func knownPaths(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		unknown, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		answer := headOnly{header: http.Header{}}
		unknown.ServeHTTP(&answer, r)
		why := "no such path"
		if allow := answer.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			why = "the path takes " + allow + " only"
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(answer.status)
		json.NewEncoder(w).Encode(huma.ErrorModel{
			Status: answer.status, Title: http.StatusText(answer.status),
			Detail: fmt.Sprintf("%s %s: %s; what exists is in %s/openapi.json", r.Method, r.URL.Path, why, Base),
		})
	})
}

// headOnly keeps an answer's status and header and forgets its body.
type headOnly struct {
	header http.Header
	status int
}

func (h *headOnly) Header() http.Header                { return h.header }
func (h *headOnly) WriteHeader(status int)             { h.status = status }
func (h *headOnly) Write(body []byte) (n int, _ error) { return len(body), nil }

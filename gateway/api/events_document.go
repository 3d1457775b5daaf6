package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

const eventsText = "An answer without an end, as browsers read it with EventSource: `id:` is the event's id, `event:` its name, " +
	"`data:` the Event as JSON in one line. While nothing happens there is a comment, with the id to go on after, every 15 s.\n\n" +
	"`session:connected`, `session:disconnected`, `session:throttled`, `session:consumed`, `session:expired` and `session:changed` have the data " +
	"`{\"message\": \"…\", \"session_id\": 7}`: the notice given with the call, or why the gateway did it; without `session_id` where no " +
	"session is meant. `session:changed` says that a session was created, changed, deleted, paused or resumed, the last two with its " +
	"`state`, or goes on after another one; `session:skipped`, that one which a provider offers cannot be used. " +
	"`session:consumed` and `session:expired` end the session in use; one that nobody uses expires without an event. " +
	"`session:throttled` says that it is used up and goes on at its throttle. " +
	"`client:created` and `client:changed` have the Device as it is then, `provider:failed` and " +
	"`provider:answered` a message and no device. A program that embeds the gateway may add names of its own.\n\n" +
	"Events are kept for those who come back: of sessions, of clients and of other names the newest 4096 each, as far as they are " +
	"within 1 MiB. With `Last-Event-ID`, or `after`, the answer begins with those that follow it. What is not kept any more, or was passed " +
	"over because the reader is slow, is told of in its place by the event `lost`, whose data has no `data` but `lost`: how many, of whatever " +
	"device and name. With `restarted` gatewayd's control was started anew in between and `lost` is the least it can be. A reader that " +
	"takes nothing for 10 s is hung up on."

// describeEvents is the operation as it stands in the document.
func describeEvents(api huma.API) *huma.Operation {
	schemas := api.OpenAPI().Components.Schemas
	event := schemas.Schema(reflect.TypeFor[sessions.Event](), true, "Event")
	schemas.Map()["Event"].Properties["data"] = &huma.Schema{Description: "what belongs to the name; any JSON"}
	text := func(name, in, text string, schema *huma.Schema) *huma.Param {
		return &huma.Param{Name: name, In: in, Description: text, Schema: schema}
	}
	zero := 0.0
	id := &huma.Schema{Type: "integer", Format: "int64", Minimum: &zero}
	most := maxNames
	known := sessions.EventNames()
	names := &huma.Schema{Type: "array", Items: &huma.Schema{Type: "string", Examples: words(known)}, MaxItems: &most}
	return &huma.Operation{
		OperationID: "follow-events", Method: http.MethodGet, Path: Base + "/events", Summary: "What happens, as it happens",
		Description: eventsText,
		Parameters: []*huma.Param{
			text("device", "query", "only those of this device: its id, MAC or IPv4 address", &huma.Schema{Type: "string"}),
			text("event", "query", "only those of this name; may be there several times", names),
			text("after", "query", "begin after the event with this id; 0 for all that are kept; without it with the next one", id),
			text("Last-Event-ID", "header", "like after, and goes before it", id),
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "Events, until one of both hangs up", Content: map[string]*huma.MediaType{eventsType: {Schema: event}}},
			"404": problemAnswer(http.StatusNotFound), "422": problemAnswer(http.StatusUnprocessableEntity),
			"503": problemAnswer(http.StatusServiceUnavailable),
		},
	}
}

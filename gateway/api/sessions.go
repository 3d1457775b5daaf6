package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

// SessionKey is the id of a path.
type SessionKey struct {
	ID int64 `path:"id" minimum:"1" doc:"a session's id" example:"7"`
}

type sessionAnswer struct{ Body sessions.Session }

// InState asks for the sessions in one state.
type InState struct {
	State string `query:"state" enum:"available,running,paused,consumed,expired" doc:"only those in this state"`
}

func registerSessions(api huma.API, core Core) {
	registerOfDevice(api, core)

	type everyone struct {
		Page
		InState
		Device string `query:"device" maxLength:"64" doc:"only those of this device: its id, MAC or IPv4 address"`
	}
	huma.Register(api, operation("list-sessions", http.MethodGet, "/sessions", "All sessions", http.StatusNotFound),
		func(ctx context.Context, in *everyone) (*listAnswer[sessions.Session], error) {
			return listSessions(ctx, core, in.Device, in.State, in.Page)
		})

	huma.Register(api, operation("get-session", http.MethodGet, "/sessions/{id}", "One session", http.StatusNotFound),
		func(ctx context.Context, in *SessionKey) (*sessionAnswer, error) {
			s, err := core.Session(ctx, in.ID)
			if err != nil {
				return nil, refused(err)
			}
			return &sessionAnswer{s}, nil
		})

	type change struct {
		SessionKey
		Body SessionChange
	}
	update := operation("update-session", http.MethodPatch, "/sessions/{id}", "Change a session, running or not", http.StatusNotFound)
	update.Description = "What is absent stays as it is. A change of a running session applies at once."
	huma.Register(api, update,
		func(ctx context.Context, in *change) (*sessionAnswer, error) {
			s, err := core.Update(ctx, in.ID, in.Body.change())
			if err != nil {
				return nil, refused(err)
			}
			return &sessionAnswer{s}, nil
		})

	remove := operation("delete-session", http.MethodDelete, "/sessions/{id}", "Delete a session", http.StatusNotFound)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(api, remove,
		func(ctx context.Context, in *SessionKey) (*struct{}, error) {
			return nil, refused(core.Delete(ctx, in.ID))
		})
}

// registerOfDevice makes the operations on one device's sessions.
func registerOfDevice(api huma.API, core Core) {
	type ofDevice struct {
		DeviceKey
		Page
		InState
	}
	huma.Register(api, operation("list-device-sessions", http.MethodGet, "/devices/{D}/sessions", "A device's sessions", http.StatusNotFound),
		func(ctx context.Context, in *ofDevice) (*listAnswer[sessions.Session], error) {
			return listSessions(ctx, core, in.D, in.State, in.Page)
		})

	type creation struct {
		DeviceKey
		Body NewSession
	}
	create := operation("create-session", http.MethodPost, "/devices/{D}/sessions", "Give a device a session", http.StatusNotFound)
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create,
		func(ctx context.Context, in *creation) (*sessionAnswer, error) {
			plan, err := in.Body.plan()
			if err != nil {
				return nil, refused(err)
			}
			d, err := core.Device(ctx, in.D)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			s, err := core.Create(ctx, d.ID, plan)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			return &sessionAnswer{s}, nil
		})

	type currentAnswer struct{ Body *sessions.Session }
	huma.Register(api, operation("get-current-session", http.MethodGet, "/devices/{D}/session", "A device's running session, or null", http.StatusNotFound),
		func(ctx context.Context, in *DeviceKey) (*currentAnswer, error) {
			d, err := core.Device(ctx, in.D)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			s, err := core.Current(ctx, d.ID)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			return &currentAnswer{s}, nil
		})
}

// listSessions lists those of one device, or all when key is empty.
func listSessions(ctx context.Context, core Core, key, state string, p Page) (*listAnswer[sessions.Session], error) {
	filter := sessions.Filter{State: sessions.State(state)}
	if key != "" {
		d, err := core.Device(ctx, key)
		if err != nil {
			return nil, refused(err, "{D}", key)
		}
		filter.DeviceID = d.ID
	}
	items, next, err := core.Sessions(ctx, filter, p.Cursor, p.Limit)
	if err != nil {
		return nil, refused(err, "{D}", key)
	}
	return listed(items, next), nil
}

package api

import (
	"context"
	"net/http"
	"time"

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

// Chosen asks for the sessions that have all that is asked for.
type Chosen struct {
	InState
	Type          string    `query:"type" enum:"time,data,time_or_data" doc:"only those of this type"`
	Provider      string    `query:"provider" maxLength:"255" doc:"only those of this provider; local are the gateway's own"`
	CreatedAfter  time.Time `query:"created_after" doc:"only those created then or later"`
	CreatedBefore time.Time `query:"created_before" doc:"only those created earlier"`
	ExpiresAfter  time.Time `query:"expires_after" doc:"only those that expire then or later; not those that never do or have not started"`
	ExpiresBefore time.Time `query:"expires_before" doc:"only those that expire earlier; likewise"`
}

// Resolve refuses moments that say nothing: the first of all is none.
func (c *Chosen) Resolve(ctx huma.Context) (wrong []error) {
	for name, at := range map[string]time.Time{"created_after": c.CreatedAfter, "created_before": c.CreatedBefore,
		"expires_after": c.ExpiresAfter, "expires_before": c.ExpiresBefore} {
		if text := ctx.Query(name); text != "" && at.IsZero() {
			wrong = append(wrong, &huma.ErrorDetail{Location: "query." + name, Message: "year 1 is no moment to compare with", Value: text})
		}
	}
	return wrong
}

func (c Chosen) filter() (f sessions.Filter, err error) {
	f = sessions.Filter{State: sessions.State(c.State), Provider: c.Provider, CreatedAfter: c.CreatedAfter, CreatedBefore: c.CreatedBefore,
		ExpiresAfter: c.ExpiresAfter, ExpiresBefore: c.ExpiresBefore}
	if c.Type != "" {
		kind, err := sessions.ParseType(c.Type)
		if err != nil {
			return f, err
		}
		f.Type = &kind
	}
	return f, nil
}

func registerSessions(api huma.API, core Core) {
	registerOfDevice(api, core)

	type everyone struct {
		Page
		Chosen
		Device string `query:"device" maxLength:"64" doc:"only those of this device: its id, MAC or IPv4 address"`
	}
	huma.Register(api, operation("list-sessions", http.MethodGet, "/sessions", "All sessions", http.StatusNotFound),
		func(ctx context.Context, in *everyone) (*listAnswer[sessions.Session], error) {
			return listSessions(ctx, core, in.Device, in.Chosen, in.Page)
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
				return nil, refused(err, "{C}", "set")
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
		Chosen
	}
	huma.Register(api, operation("list-device-sessions", http.MethodGet, "/devices/{D}/sessions", "A device's sessions", http.StatusNotFound),
		func(ctx context.Context, in *ofDevice) (*listAnswer[sessions.Session], error) {
			return listSessions(ctx, core, in.D, in.Chosen, in.Page)
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

	registerBatch(api, core)

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
func listSessions(ctx context.Context, core Core, key string, c Chosen, p Page) (*listAnswer[sessions.Session], error) {
	filter, err := c.filter()
	if err != nil {
		return nil, refused(err)
	}
	if key != "" {
		d, err := core.Device(ctx, key)
		if err != nil {
			return nil, refused(err, "{D}", key)
		}
		filter.DeviceID = d.ID
	}
	items, next, err := core.Sessions(ctx, filter, p.Cursor, p.Limit)
	return listedPart(items, next, err, "{D}", key)
}

// registerBatch makes the operations on all that a device has.
func registerBatch(api huma.API, core Core) {
	type batch struct {
		DeviceKey
		Body struct {
			Items []NewSession `json:"items" minItems:"1" maxItems:"100"`
		}
	}
	create := operation("create-sessions", http.MethodPost, "/devices/{D}/sessions/batch", "Give a device several sessions at once", http.StatusNotFound)
	create.DefaultStatus = http.StatusCreated
	create.Description = "All of them or, with a problem, none. They are used in this order."
	huma.Register(api, create,
		func(ctx context.Context, in *batch) (*listAnswer[sessions.Session], error) {
			plans := make([]sessions.Plan, len(in.Body.Items))
			for i, item := range in.Body.Items {
				var err error
				if plans[i], err = item.plan(); err != nil {
					return nil, refused(err)
				}
			}
			d, err := core.Device(ctx, in.D)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			made, err := core.CreateBatch(ctx, d.ID, plans)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			return listed(made, ""), nil
		})

	type summaryAnswer struct{ Body sessions.Summary }
	huma.Register(api, operation("get-device-summary", http.MethodGet, "/devices/{D}/summary", "All that a device has left", http.StatusNotFound),
		func(ctx context.Context, in *DeviceKey) (*summaryAnswer, error) {
			d, err := core.Device(ctx, in.D)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			s, err := core.Summary(ctx, d.ID)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			return &summaryAnswer{s}, nil
		})
}

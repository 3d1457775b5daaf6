package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

// DeviceKey is the D of a path.
type DeviceKey struct {
	D string `path:"D" maxLength:"64" doc:"a device's id, MAC, or IPv4 address: its own, or the last it had unless another device has it by now" example:"1"`
}

type deviceAnswer struct{ Body sessions.Device }

// NewDevice is the body that makes a device known ahead of its first packet.
type NewDevice struct {
	MAC      string `json:"mac" maxLength:"64" example:"02:00:00:00:00:0c"`
	IP       string `json:"ip,omitempty" maxLength:"64" doc:"binds this IPv4 address of the LAN to it" example:"10.10.0.2"`
	Hostname string `json:"hostname,omitempty" maxLength:"255"`
}

// Notice is the optional body of a connect, disconnect, pause or resume.
type Notice struct {
	Notify string `json:"notify,omitempty" maxLength:"1024" doc:"the message of the event that tells the client"`
}

func registerDevices(api huma.API, core Core) {
	huma.Register(api, operation("list-devices", http.MethodGet, "/devices", "All devices"),
		func(ctx context.Context, in *struct{ Page }) (*listAnswer[sessions.Device], error) {
			items, next, err := core.Devices(ctx, in.Cursor, in.Limit)
			return listedPart(items, next, err)
		})

	type added struct {
		Status int
		Body   sessions.Device
	}
	add := operation("add-device", http.MethodPost, "/devices", "Make a device known, and bind its address", http.StatusConflict)
	add.Description = "201 when it is new, 200 when it was known."
	huma.Register(api, add,
		func(ctx context.Context, in *struct{ Body NewDevice }) (*added, error) {
			d, created, err := core.AddDevice(ctx, in.Body.MAC, in.Body.IP, in.Body.Hostname)
			if err != nil {
				return nil, refused(err)
			}
			if created {
				return &added{http.StatusCreated, d}, nil
			}
			return &added{http.StatusOK, d}, nil
		})

	huma.Register(api, operation("get-device", http.MethodGet, "/devices/{D}", "One device", http.StatusNotFound),
		func(ctx context.Context, in *DeviceKey) (*deviceAnswer, error) {
			d, err := core.Device(ctx, in.D)
			if err != nil {
				return nil, refused(err, "{D}", in.D)
			}
			return &deviceAnswer{d}, nil
		})

	registerSwitch(api, core, "connect", "Start or continue its next available session", core.ConnectDevice)
	registerSwitch(api, core, "disconnect", "Stop its packets and keep the rest of its session", core.DisconnectDevice)
	registerSwitch(api, core, "pause", "Stop its packets and its time; it stays connected", core.PauseDevice)
	registerSwitch(api, core, "resume", "Let its paused session go on", core.ResumeDevice)
}

// registerSwitch makes the operation that lets a device's packets pass, or not.
func registerSwitch(api huma.API, core Core, word, summary string,
	turn func(ctx context.Context, id int64, notify string) (sessions.Device, error)) {
	type input struct {
		DeviceKey
		Body *Notice
	}
	op := operation(word+"-device", http.MethodPost, "/devices/{D}/"+word, summary, http.StatusNotFound, http.StatusConflict)
	huma.Register(api, op, func(ctx context.Context, in *input) (*deviceAnswer, error) {
		d, err := core.Device(ctx, in.D)
		if err != nil {
			return nil, refused(err, "{D}", in.D)
		}
		notify := ""
		if in.Body != nil {
			notify = in.Body.Notify
		}
		if d, err = turn(ctx, d.ID, notify); err != nil {
			return nil, refused(err, "{D}", in.D)
		}
		return &deviceAnswer{d}, nil
	})
}

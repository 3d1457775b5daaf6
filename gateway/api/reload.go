package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// What a reload can end with, beside the context's errors.
var (
	ErrBadConfig = errors.New("the config is refused") // its text is only what is wrong with the file
	ErrNoConfig  = errors.New("this gateway's config is its program's own, which reads no file")
)

// Reloaded is what came of reading the config file again. Keys are dotted, such
// as bandwidth.total.down.
type Reloaded struct {
	File         string   `json:"file" doc:"the path of the config that was read"`
	Applied      []string `json:"applied" nullable:"false" doc:"keys whose new values are in force"`
	NeedsRestart []string `json:"needs_restart" nullable:"false" doc:"keys whose values in the file are not those that run, until the service is restarted"`
	Warnings     []string `json:"warnings" nullable:"false" doc:"what is allowed but likely to surprise"`
}

// ConfigState is what is known of the config file.
type ConfigState struct {
	File         string    `json:"file" doc:"its path; empty: the config is a program's own"`
	ReadAt       time.Time `json:"read_at" doc:"when it was last read and taken"`
	NeedsRestart []string  `json:"needs_restart" nullable:"false" doc:"keys whose values in it, as it was then, are not those that run, until a restart"`
	Refused      string    `json:"refused" doc:"why the last reload was refused; empty: it was not"`
}

func registerReload(api huma.API, reload func(context.Context) (Reloaded, error)) {
	type answer struct{ Body Reloaded }
	op := operation("reload", http.MethodPost, "/reload", "Read the config file again", http.StatusConflict, http.StatusUnprocessableEntity)
	op.Description = "A file that gatewayd check refuses is refused as it does, and the config that runs stays in force. Of another, each key that can " +
		"change while packets pass does, without one being lost; the others are named."
	huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*answer, error) {
		done, err := reload(ctx)
		if err != nil {
			return nil, refused(err)
		}
		for _, list := range []*[]string{&done.Applied, &done.NeedsRestart, &done.Warnings} {
			if *list == nil {
				*list = []string{}
			}
		}
		return &answer{done}, nil
	})
}

package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

var lineWords = []sessions.LineKind{sessions.LineCreate, sessions.LineStart, sessions.LineResume, sessions.LineChain, sessions.LinePause,
	sessions.LineTopUp, sessions.LineChange, sessions.LineThrottle, sessions.LineUse, sessions.LineEnd, sessions.LineDelete, sessions.LineNow}

func registerLedger(api huma.API, core Core) {
	type ofSession struct {
		SessionKey
		Page
	}
	ledger := operation("get-ledger", http.MethodGet, "/sessions/{id}/ledger", "Where a session's time and bytes went", http.StatusNotFound)
	ledger.Description = "A line for whatever began, paused, changed or ended its use, oldest first; every 10 minutes of use one of kind use. " +
		"used is what was counted since the line before, total since the session was created; times are milliseconds. " +
		"While the session is used, the last line is of kind now. A deleted session's ledger stays for sessions.ledger_keep."
	huma.Register(api, ledger,
		func(ctx context.Context, in *ofSession) (*listAnswer[sessions.LedgerLine], error) {
			items, next, err := core.Ledger(ctx, in.ID, in.Cursor, in.Limit)
			if err != nil {
				return nil, refused(err)
			}
			return listed(items, next), nil
		})
}

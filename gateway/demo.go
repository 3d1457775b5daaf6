package gateway

import (
	"context"
	"io"

	"gatewayd/gateway/demo"
)

// Demo shows on out, in network namespaces of its own and with real traffic,
// what a gateway claims to do. It takes under a minute, needs root, leaves
// nothing behind, and returns nil only if every claim held at the far ends, else an
// error that names those that did not.
func Demo(ctx context.Context, out io.Writer) error { return demo.Run(ctx, out) }

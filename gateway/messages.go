package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/gateway/config"
)

// The words that children are started with.
const (
	wordForward = "forward"
	wordControl = "control"
	wordStore   = "store"
)

// message is everything the keeper and its children say to each other, one
// JSON object a packet. Descriptors travel with it, in the order named.
type message struct {
	// Keeper to forward, first: table, forward's bell, control's bell, a LAN port's
	// socket for each worker, a WAN port's for each, host link; then a socket for the
	// transmit ring of each worker's LAN port, and of each one's WAN port.
	Forward *forwardOrder `json:"forward,omitempty"`
	// Keeper to control, first: table, forward's bell, control's bell, API
	// listener.
	Control *controlOrder `json:"control,omitempty"`
	// Keeper to store, first: its directory.
	Store *storeOrder `json:"store,omitempty"`
	// Keeper to control and to store whenever one of them was started: its end
	// of a new connection between the two.
	Connect bool `json:"connect,omitempty"`
	// Keeper to control, whenever it is opened: the listener for scrapes, in the
	// place of the one before; without it when that is to be closed.
	Metrics bool `json:"metrics,omitempty"`
	// Control to keeper: somebody asks for a reload, by this number. Keeper to
	// control: what came of it, or of a signal.
	Reload   uint64     `json:"reload,omitempty"`
	Reloaded *reloading `json:"reloaded,omitempty"`
	// Keeper to store: how it logs from now on.
	Log *config.Log `json:"log,omitempty"`
	// Keeper to control: what it sees of ports and processes.
	State *keeperState `json:"state,omitempty"`
	// Child to keeper: it serves, and what it could not shut behind itself.
	Ready bool   `json:"ready,omitempty"`
	Open  string `json:"open,omitempty"`
	// Control to keeper, whenever it changes: the state of the gateway in a line.
	Verdict string `json:"verdict,omitempty"`
	// Child to keeper, last: why it ends.
	Failed string `json:"failed,omitempty"`
}

type forwardOrder struct {
	Config  forwarder.Config       `json:"config"`
	Workers int                    `json:"workers"`
	TAP     [clients.NumPorts]bool `json:"tap"` // ports that are TAPs; the others are packet sockets
	// Packet sockets are received from by system calls.
	Ringless bool       `json:"ringless"`
	Transmit bool       `json:"transmit"` // they send by transmit rings, too
	Log      config.Log `json:"log"`
}

// files is how many descriptors come with the order.
func (o *forwardOrder) files() int {
	return 4 + 2*o.Workers + o.senders(clients.LAN) + o.senders(clients.WAN)
}

// senders is how many of them are for the transmit rings of a port.
func (o *forwardOrder) senders(port int) int {
	if !o.Transmit || o.TAP[port] {
		return 0
	}
	return o.Workers
}

type controlOrder struct {
	Config config.Config `json:"config"`
}

type storeOrder struct {
	Path string     `json:"path"`
	Boot string     `json:"boot"` // kernel's boot id
	Log  config.Log `json:"log"`
}

// reloading is what came of reading the config again.
type reloading struct {
	Ask     uint64         `json:"ask"`     // whose answer it is; 0: nobody's
	Config  *config.Config `json:"config"`  // in force from now on; nil: what was
	Report  api.Reloaded   `json:"report"`  // what was taken over
	Refused string         `json:"refused"` // why nothing was; empty: all is well
}

// keeperState is the part of the status that only the keeper knows.
type keeperState struct {
	Ports     map[string]api.Port `json:"ports"` // by lan, wan, host; without counters
	Processes []api.Process       `json:"processes"`
	Degraded  []string            `json:"degraded"`
	PortsOpen bool                `json:"ports_open"`
	Config    api.ConfigState     `json:"config"`
	// When children ended by themselves, by their word, since boot.
	Ends map[string][]time.Duration `json:"ends"`
}

const (
	maxMessage = 64 << 10
	maxFiles   = 4 + 4*clients.MaxWorkers
	// sendTime is how long a message waits for room: a child that does not read
	// for so long does not hold the others up.
	sendTime = 200 * time.Millisecond
)

// wire carries messages between the keeper and one child.
type wire struct{ c *net.UnixConn }

// newWire makes both ends: one for here, one to be inherited.
func newWire() (*wire, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "wire"), os.NewFile(uintptr(fds[1]), "wire")
	w, err := openWire(near)
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return w, far, nil
}

// openWire takes over a descriptor.
func openWire(f *os.File) (*wire, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open wire: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("open wire: not a unix socket")
	}
	return &wire{u}, nil
}

func (w *wire) close() { w.c.Close() }

// send says one message. The files stay the caller's.
func (w *wire) send(m message, files ...*os.File) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	if len(b) > maxMessage {
		return fmt.Errorf("send message: %d bytes: want at most %d", len(b), maxMessage)
	}
	var fds []int
	for _, f := range files {
		fd, err := clients.FD(f)
		if err != nil {
			return fmt.Errorf("send message: %s: %w", f.Name(), err)
		}
		fds = append(fds, fd)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := w.c.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	if _, _, err := w.c.WriteMsgUnix(b, rights, nil); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// receive waits for one message; io.EOF when the other end is gone.
func (w *wire) receive() (message, []*os.File, error) {
	var m message
	buf, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, _, _, err := w.c.ReadMsgUnix(buf, oob)
	if err != nil {
		return m, nil, fmt.Errorf("receive message: %w", err)
	}
	if n == 0 {
		return m, nil, io.EOF
	}
	files, err := filesOf(oob[:oobn])
	if err != nil {
		return m, nil, err
	}
	if err := json.Unmarshal(buf[:n], &m); err != nil {
		for _, f := range files {
			f.Close()
		}
		return m, nil, fmt.Errorf("receive message: %w", err)
	}
	return m, files, nil
}

func filesOf(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	controls, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("receive descriptors: %w", err)
	}
	var files []*os.File
	for i := range controls {
		fds, err := unix.ParseUnixRights(&controls[i])
		if err != nil {
			return nil, fmt.Errorf("receive descriptors: %w", err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	return files, nil
}

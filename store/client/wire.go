package client

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Sizes that both sides hold to, in bytes unless said otherwise.
const (
	MaxKey     = 1 << 10   // a key
	MaxValue   = 192 << 10 // a value: a packed record of 8192 sessions at 24 bytes
	MaxRecords = 2048      // records in one batch (a number)
	MaxBatch   = 256 << 10 // keys and values of a batch, RecordCost counted for each record
	MaxChunk   = 128 << 10 // a part of a backup
	ScanSize   = 1 << 20   // where an answer to Scan is cut

	// MaxFrame is the largest frame without its length: a cut scan plus the one
	// record that crossed the line.
	MaxFrame = ScanSize + MaxKey + MaxValue + 64

	// RecordCost is what a record counts beside its key and value.
	RecordCost = 32
)

// ErrMalformed is a frame that breaks the protocol. The connection it came on is closed.
var ErrMalformed = errors.New("malformed frame")

// Op is what a request asks for.
type Op byte

// The operations, as they are on the wire.
const (
	OpGet Op = 1 + iota
	OpScan
	OpBatch
	OpBackup
	OpRestore
	OpHealth
	lastOp = OpHealth
)

var opNames = [...]string{OpGet: "get", OpScan: "scan", OpBatch: "batch", OpBackup: "backup", OpRestore: "restore", OpHealth: "health"}

func (o Op) String() string {
	if o < OpGet || o > lastOp {
		return fmt.Sprintf("operation %d", byte(o))
	}
	return opNames[o]
}

// Status is how a request ended.
type Status byte

// The statuses, as they are on the wire.
const (
	Done    Status = iota // it was done
	Full                  // refused: the disk has too little room
	Corrupt               // a stored value fails its checksum
	Unfit                 // refused: what was sent is not a whole backup
	Failed                // anything else; Text says what
	lastStatus
)

// Step is what a request to restore does.
type Step byte

// The steps, as they are on the wire.
const (
	StepBegin  Step = iota // forget what was sent before
	StepPart               // take a part of the backup
	StepCheck              // say whether what was sent is a whole backup
	StepCommit             // put it in the place of all records
	lastStep   = StepCommit
)

// Record is a key and its value, or, with Delete, a key to be removed.
type Record struct {
	Key, Value []byte
	Delete     bool
}

// Health is what the store says of itself.
type Health struct {
	OK   bool   // changes are accepted
	Free int64  // bytes free on the file system for this process; negative: there is none, it is in memory
	Why  string // when not OK, why not

	// Notice is what an earlier damage cost; empty: nothing that somebody has to know.
	Notice string
}

// Request is one request. Only the fields of its Op are sent.
type Request struct {
	ID      uint64
	Op      Op
	Key     []byte   // Get
	Prefix  []byte   // Scan
	After   []byte   // Scan: only keys that sort after it; empty means from the start
	Limit   int      // Scan: most records wanted; 0 means as many as fit in an answer
	Records []Record // Batch; Restore, StepCommit: put over those of the backup
	Begin   bool     // Backup: from its beginning
	Step    Step     // Restore
	Part    []byte   // Restore, StepPart
}

// Answer is the answer to the request of the same ID. Only the fields of its Op
// and Status are sent.
type Answer struct {
	ID      uint64
	Op      Op
	Status  Status
	Text    string   // any status but Done: the reason
	Found   bool     // Get
	Value   []byte   // Get; Backup: the next part
	Records []Record // Scan
	More    bool     // Scan: keys are left after the last record; Backup: parts are left
	Health  Health   // Health
}

// Append appends the request as a frame to b. The caller has checked the sizes.
func (r *Request) Append(b []byte) []byte {
	b, start := openFrame(b, r.ID, r.Op)
	switch r.Op {
	case OpGet:
		b = append(b, r.Key...)
	case OpScan:
		b = binary.BigEndian.AppendUint32(b, uint32(r.Limit))
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.Prefix)))
		b = append(b, r.Prefix...)
		b = append(b, r.After...)
	case OpBatch:
		b = appendRecords(b, r.Records)
	case OpBackup:
		b = append(b, bit(r.Begin))
	case OpRestore:
		b = append(b, byte(r.Step))
		if r.Step == StepCommit {
			b = appendRecords(b, r.Records)
		}
		b = append(b, r.Part...)
	}
	return closeFrame(b, start)
}

// ParseRequest reads what follows a frame's length. The request's slices are parts
// of frame. The error is ErrMalformed, wrapped.
func ParseRequest(frame []byte) (Request, error) {
	var r Request
	p := parser{rest: frame}
	r.ID, r.Op = p.uint64(), Op(p.byte())
	switch r.Op {
	case OpGet:
		r.Key = p.all()
		p.need(len(r.Key) > 0 && len(r.Key) <= MaxKey, "key length")
	case OpScan:
		limit := p.uint32()
		p.need(limit <= math.MaxInt32, "limit")
		r.Limit = int(limit & math.MaxInt32)
		r.Prefix = p.bytes(p.uint32(), MaxKey)
		r.After = p.all()
		p.need(len(r.After) <= MaxKey, "length of after")
	case OpBatch:
		r.Records = p.records(MaxRecords)
		p.need(batchSize(r.Records) <= MaxBatch, "batch size")
	case OpBackup:
		r.Begin = p.bit()
	case OpRestore:
		if r.Step = Step(p.byte()); r.Step == StepCommit {
			r.Records = p.records(MaxRecords)
			p.need(batchSize(r.Records) <= MaxBatch, "size of the records")
		}
		r.Part = p.all()
		p.need(r.Step <= lastStep && len(r.Part) <= MaxChunk && (r.Step == StepPart || len(r.Part) == 0), "step")
	case OpHealth:
	default:
		p.need(false, "operation")
	}
	return r, p.end("request")
}

// Append appends the answer as a frame to b.
func (a *Answer) Append(b []byte) []byte {
	b, start := openFrame(b, a.ID, a.Op)
	b = append(b, byte(a.Status))
	switch {
	case a.Status != Done:
		b = append(b, a.Text...)
	case a.Op == OpGet:
		b = append(b, bit(a.Found))
		b = append(b, a.Value...)
	case a.Op == OpScan:
		b = append(b, bit(a.More))
		b = appendRecords(b, a.Records)
	case a.Op == OpBackup:
		b = append(b, bit(a.More))
		b = append(b, a.Value...)
	case a.Op == OpHealth:
		b = append(b, bit(a.Health.OK))
		b = binary.BigEndian.AppendUint64(b, uint64(a.Health.Free))
		b = binary.BigEndian.AppendUint32(b, uint32(len(a.Health.Why)))
		b = append(b, a.Health.Why...)
		b = append(b, a.Health.Notice...)
	}
	return closeFrame(b, start)
}

// ParseAnswer reads what follows a frame's length. The answer's slices are parts of
// frame. The error is ErrMalformed, wrapped.
func ParseAnswer(frame []byte) (Answer, error) {
	var a Answer
	p := parser{rest: frame}
	a.ID, a.Op, a.Status = p.uint64(), Op(p.byte()), Status(p.byte())
	p.need(a.Op >= OpGet && a.Op <= lastOp, "operation")
	p.need(a.Status < lastStatus, "status")
	switch {
	case a.Status != Done:
		a.Text = string(p.all())
	case a.Op == OpGet:
		a.Found = p.bit()
		a.Value = p.all()
		p.need(len(a.Value) <= MaxValue && (a.Found || len(a.Value) == 0), "value")
	case a.Op == OpScan:
		a.More = p.bit()
		a.Records = p.records(MaxFrame)
	case a.Op == OpBackup:
		a.More = p.bit()
		a.Value = p.all()
		p.need(len(a.Value) <= MaxChunk, "part")
	case a.Op == OpHealth:
		a.Health.OK = p.bit()
		a.Health.Free = int64(p.uint64())
		a.Health.Why = string(p.bytes(p.uint32(), MaxFrame))
		a.Health.Notice = string(p.all())
	}
	return a, p.end("answer")
}

// ReadFrame reads one frame from r and returns what follows its length, in memory of
// its own. It returns io.EOF when r ends between frames, and ErrMalformed, wrapped,
// for a length that no frame has.
func ReadFrame(r *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 9 || n > MaxFrame {
		return nil, fmt.Errorf("%w: length %d", ErrMalformed, n)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("frame of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	return frame, nil
}

func openFrame(b []byte, id uint64, op Op) (frame []byte, start int) {
	start = len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, id)
	return append(b, byte(op)), start
}

func closeFrame(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

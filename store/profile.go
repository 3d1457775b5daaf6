package store

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"gatewayd/store/client"
)

// The profile is for boxes with 512 MB and a card of a few hundred: little memory,
// small files, no cache but the kernel's. The sizes hold on 32-bit too, where Badger
// maps twice the log sizes into the address space.
//
// On 32-bit they have to. There, the allocator in which Badger builds a table
// (ristretto's z.Allocator, to v2.4.2 at least) begins again at the front of its first
// buffer when that is full, over what is already in it: (bufIdx+1)<<32 is an int. So no
// table may outgrow the first buffer, which is twice the builder's table size, rounded
// up to a power of two: for tableSize, firstBuffer. An entry takes at most tableGrowth
// times its size there, in a block that is grown twice. And level 0 is never compacted
// into itself, where Badger asks for a buffer of -2 bytes; it does that with four
// tables there (see crowded).
const (
	memTable    = 7 << 18         // bytes, in memory and in its log; a transaction is at most 15 % of it
	tableSize   = 2<<20 + 1       // bytes; all levels below 0 have tables of this size
	firstBuffer = 8 << 20         // bytes
	tableGrowth = 3.5             //
	valueLog    = 16 << 20        // bytes, sparse; empty, because every value is below inline
	inline      = 193 << 10       // bytes, above the largest sealed value
	maxGroup    = client.MaxBatch // keys and values of a group, in bytes, as client.MaxBatch counts
	maxRecords  = 2800            // records of a group
	compactors  = 2               // Badger's least
	levelZero   = 2               // tables before level 0 is compacted
	levelZeroUp = 3               // tables before a flush waits for that
)

// profile is how the database at dir is opened. Without a dir it lives in memory.
func profile(dir string, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.InMemory = dir == ""
	o.SyncWrites = true
	o.DetectConflicts = false
	o.NumVersionsToKeep = 1
	o.MetricsEnabled = false
	o.ChecksumVerificationMode = options.OnBlockRead // and checkTables before it is opened
	o.VerifyValueChecksum = true
	o.Compression = options.None
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0
	o.MemTableSize = memTable
	o.NumMemtables = 2
	o.BaseTableSize = tableSize
	o.TableSizeMultiplier = 1
	o.BaseLevelSize = 4 * tableSize
	o.ValueLogFileSize = valueLog
	o.ValueThreshold = inline
	o.NumCompactors = compactors
	o.NumLevelZeroTables = levelZero
	o.NumLevelZeroTablesStall = levelZeroUp
	o.NumGoroutines = 1
	o.Logger = badgerLog{log}
	return o
}

// lean is profile without compaction: opening it writes no more than what a former
// process left in its logs. Those go to level 0, however many they are: Badger would
// wait for ever for a compaction to make room there.
func lean(o badger.Options) badger.Options {
	o.NumCompactors = 0
	o.NumLevelZeroTablesStall = math.MaxInt32
	return o
}

// crowded says whether the database would open with more than levelZeroUp tables in
// level 0: those that are there, and one for each log.
func crowded(o badger.Options) (bool, error) {
	manifest, err := readManifest(o)
	if err != nil {
		return false, err
	}
	logs, err := logs(o.Dir)
	if err != nil {
		return false, err
	}
	tables := 0
	if len(manifest.Levels) > 0 {
		tables = len(manifest.Levels[0].Tables)
	}
	return tables+len(logs) > levelZeroUp, nil
}

// badgerLog passes Badger's warnings and errors on. Its other lines are for its
// own developers.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error(line(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warn(line(f, a)) }
func (l badgerLog) Infof(string, ...any)        {}
func (l badgerLog) Debugf(string, ...any)       {}

// complaints is what Badger says is wrong while it is opened: a table that fails its
// checksum is left out with no more than that.
type complaints struct {
	badgerLog
	mu   sync.Mutex
	said []string
}

func (c *complaints) Errorf(f string, a ...any) {
	c.badgerLog.Errorf(f, a...)
	c.mu.Lock()
	c.said = append(c.said, line(f, a))
	c.mu.Unlock()
}

func (c *complaints) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.said, "; ")
}

func line(f string, a []any) string {
	return "badger: " + strings.TrimSpace(fmt.Sprintf(f, a...))
}

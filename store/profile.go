package store

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"gatewayd/store/client"
)

// The profile is for boxes with 512 MB and a card of a few hundred: little memory,
// small files, no cache but the kernel's. The sizes hold on 32-bit too, where Badger
// maps twice the log sizes into the address space.
const (
	memTable    = 2 << 20  // bytes, in memory and in its log; a transaction is at most 15 % of it
	table       = 1 << 20  // bytes, a table below level 0
	valueLog    = 16 << 20 // bytes, sparse; empty, because every value is below inline
	inline      = client.MaxValue + sealSize + 1
	maxGroup    = client.MaxBatch // keys and values of a group, in bytes, as client.MaxBatch counts
	maxRecords  = 3000            // records of a group
	compactors  = 2               // Badger's least
	levelZero   = 2               // tables before level 0 is compacted
	levelZeroUp = 12              // tables before writers wait for that
)

// profile is how the database at dir is opened. Without a dir it lives in memory.
func profile(dir string, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.InMemory = dir == ""
	o.SyncWrites = true
	o.DetectConflicts = false
	o.NumVersionsToKeep = 1
	o.MetricsEnabled = false
	o.ChecksumVerificationMode = options.OnTableAndBlockRead
	o.VerifyValueChecksum = true
	o.Compression = options.None
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0
	o.MemTableSize = memTable
	o.NumMemtables = 2
	o.BaseTableSize = table
	o.BaseLevelSize = 4 * table
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
// process left in its logs.
func lean(o badger.Options) badger.Options {
	o.NumCompactors = 0
	return o
}

// badgerLog passes Badger's warnings and errors on. Its other lines are for its
// own developers.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error(line(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warn(line(f, a)) }
func (l badgerLog) Infof(string, ...any)        {}
func (l badgerLog) Debugf(string, ...any)       {}

func line(f string, a []any) string {
	return "badger: " + strings.TrimSpace(fmt.Sprintf(f, a...))
}

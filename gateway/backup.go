package gateway

import (
	"io"
	"time"

	"gatewayd/store"
	"gatewayd/store/client"
)

// BackupInfo is what a backup says of itself.
type BackupInfo struct {
	Made    time.Time // the moment that it is of
	Records uint64    // of devices, sessions and all else
}

// ReadBackup reads a backup to its end and checks all of it: that it is one, of this
// version, whole and unchanged. Its error says what is wrong with it, or is r's.
func ReadBackup(r io.Reader) (BackupInfo, error) {
	info, err := store.ReadSnapshot(r, func(client.Record) error { return nil })
	return BackupInfo{info.Made, info.Records}, err
}

package gateway

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// childUser is the user that the children run as where it exists.
const childUser = "gatewayd"

// spareID is the user and the group that the children run as where nobody made
// the user: of the range 65520 to 65533, which Debian's policy (9.2.2) reserves
// and systemd gives to nobody. Not 65534, as which other servers run.
const spareID = 65530

// identity is the user and group that a child runs as.
type identity struct {
	uid, gid uint32
	as       bool // false: nothing is changed, these are the keeper's own
}

// childIdentity is as whom children run, and, if that is no other than the
// keeper itself, why.
func childIdentity() (id identity, why string) {
	id = identity{uid: spareID, gid: spareID, as: true}
	if u, err := user.Lookup(childUser); err == nil {
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			id.uid, id.gid = uint32(uid), uint32(gid)
		}
	}
	own := identity{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	if own.uid != 0 {
		return own, "gatewayd was not started as root"
	}
	if !mapped("/proc/self/uid_map", id.uid) || !mapped("/proc/self/gid_map", id.gid) {
		return own, fmt.Sprintf("user %d and group %d do not exist in this user namespace", id.uid, id.gid)
	}
	return id, ""
}

// mapped says whether an id exists in this user namespace
// (user_namespaces(7)); without the file there are no namespaces.
func mapped(file string, id uint32) bool {
	f, err := os.Open(file)
	if err != nil {
		return true
	}
	defer f.Close()
	for {
		var first, outside, count uint64
		if _, err := fmt.Fscan(f, &first, &outside, &count); err != nil {
			return err != io.EOF && err != io.ErrUnexpectedEOF
		}
		if uint64(id) >= first && uint64(id)-first < count {
			return true
		}
	}
}

// credential is what exec is told.
func (id identity) credential() *syscall.Credential {
	if !id.as {
		return nil
	}
	return &syscall.Credential{Uid: id.uid, Gid: id.gid}
}

func (id identity) String() string { return fmt.Sprintf("user %d, group %d", id.uid, id.gid) }

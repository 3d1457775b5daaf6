// Package store is the store process: Badger behind the protocol of store/client,
// and nothing else. It is the only package that imports Badger.
//
// Nouns. The disk is the directory with the database, the journal and the snapshots,
// together with the judgement whether there is room to change it. What is kept is the
// free space under which changes are refused: the guard, and the size of all tables,
// because compaction writes them again before it deletes them. The reserve is a file
// that holds space back, so that the database can be opened on a full disk. A group is
// the batches that share one commit. Each batch has a sequence, one more than the one
// before. A value is sealed: stored with the CRC-32C of its key and itself. The journal
// is every batch once more, in files that only this package reads, and a snapshot is
// all records as of one sequence: what they tell together is the account.
//
// The life of a batch:
//
//  1. The connection's reader parses the frame and takes a place among the
//     maxUnderWay requests; without a place it stops reading.
//  2. The committer's queue takes it, in the order of arrival.
//  3. The committer takes the batches that wait, as many as fit, as one group.
//  4. The file system's free space is read. When it is under what is kept, all of the
//     group is refused with Full and nothing is written.
//  5. The group is written to the journal and synced.
//  6. The values are sealed and the group becomes one Badger transaction, with the
//     sequence of its last batch: written to Badger's log and synced (SyncWrites). When
//     this made a new file, the directory is synced too.
//  7. Each batch is answered. Only now is it acknowledged: it is on the disk twice.
//
// A group that fails in 5 or 6 is answered with an error, and the disk is opened again
// before the next one.
//
// Reads run beside this, each on one consistent view, and check every seal: a value
// that fails is an error that names its key.
//
// The life of the disk:
//
//  1. Free space at or above what is kept: the database is opened whole, and the reserve
//     is made when there is room for both.
//  2. Less: the reserve is given up, and the database opened lean, without
//     compaction: it can be read, and changes are refused.
//  3. Too little even for that: it stays shut, and every request is refused with
//     Full. Opening it would end the process, because Badger writes through memory
//     maps.
//  4. Every watchInterval the space is read again, and a lean or shut disk is opened
//     whole when there is room for the reserve beside what is kept.
//
// Snapshots are made when the journal has grown by as much as the last one has bytes
// (journalLeast to journalMost), and before a clean end if anything has changed. One is
// written beside, synced, read back, renamed, and its directory is synced; only then do
// the third newest, and the journal that nobody needs with the two that stay, go.
//
// What opening does, before anything is served:
//
//  1. It takes the account: the newest snapshot that is whole, and the journal behind it.
//  2. It reads all tables and checks their sums, opens the database and compares all of
//     it, key by key, with the account as of the database's own sequence. The journal may be ahead by one group, which the
//     database then gets: nobody was told that it is there. A group that is in neither
//     as a whole was torn by a power cut, and is dropped.
//  3. Anything else is damage: Badger refuses, complains, panics or ends the process
//     (mostAttempts times in one boot of the box), a record is missing, changed or too many. Badger's files go to
//     the directory "damaged" (or away, without room), in place of what was there, and
//     the database is made anew from the account. What happened and what was lost is
//     logged, and stands in Health's notice until that directory is removed, or a
//     backup restored. A rebuild that is cut short begins again.
//  4. A snapshot or journal that is not whole beside a database that is costs nothing:
//     they are made anew.
//
// So one fault, wherever it is, loses nothing, and two say what they lost.
//
// A large database (compareAtOnce) is compared while it is served, when nothing suggests
// that it lacks something: the tables in the directory are those of its manifest, which
// ends with its last change; their sums are right; there is one log, so that its end is
// the database's own sequence, and that is the journal's. A damage that is found then
// ends the process, and the next one, told by the file "doubted", compares before it
// serves. Comparing reads tables as files, not through Badger's maps, and asks Badger
// where they differ from the account: what is not in a table yet. Until it is done no
// snapshot is made. Changes wait, a second each at most, while the journal is longer
// than memory should hold.
//
// A backup is a snapshot that goes to the caller part by part and takes no room here. A
// restore takes such a file in beside, checks all of it, makes it the newest snapshot,
// with what the caller puts over it, and the database anew from that.
//
// There is one connection at a time. A new one replaces the old one, whose last
// parsed batches are committed first: an older batch never lands on a newer one.
//
// What it does not do: no key expires by itself, no record is read to be changed (a
// batch holds absolute values), and no key has a meaning here. A fault of a single
// page (a SIGBUS when another program takes the last blocks, a disk that stalls)
// ends or stops this process, which is why it is a process.
package store

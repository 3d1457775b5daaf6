// Package store is the store process: Badger behind the protocol of store/client,
// and nothing else. It is the only package that imports Badger.
//
// Nouns. The disk is the directory with the database, together with the judgement
// whether there is room to change it. What is kept is the free space under which
// changes are refused: the guard, and the size of all tables, because compaction
// writes them again before it deletes them. The reserve is a file that holds space back, so that the
// database can be opened on a full disk. A group is the batches that share one
// commit. A value is sealed: stored with the CRC-32C of its key and itself.
//
// The life of a batch:
//
//  1. The connection's reader parses the frame and takes a place among the
//     maxUnderWay requests; without a place it stops reading.
//  2. The committer's queue takes it, in the order of arrival.
//  3. The committer takes the batches that wait, as many as fit, as one group.
//  4. The file system's free space is read. When it is under what is kept, all of the
//     group is refused with Full and nothing is written.
//  5. The values are sealed and the group becomes one Badger transaction: written to
//     its log and synced (SyncWrites). When this made a new file, the directory is
//     synced too.
//  6. Each batch is answered. Only now is it acknowledged.
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
// There is one connection at a time. A new one replaces the old one, whose last
// parsed batches are committed first: an older batch never lands on a newer one.
//
// What it does not do: no key expires by itself, no record is read to be changed (a
// batch holds absolute values), and no key has a meaning here. A fault of a single
// page (a SIGBUS when another program takes the last blocks, a disk that stalls)
// ends or stops this process, which is why it is a process.
package store

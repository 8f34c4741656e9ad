//! The bounds of streams to viewers.

use std::time::Duration;

/// The longest time that a replay stream may be open and silent without having come to a cursor that the feed has. It is
/// longer than it takes to notice that the connection of the feed is gone, and to make another.
pub const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a shared stream outlives its last viewer.
pub const LINGER: Duration = Duration::from_secs(30);

/// How many bytes the frames of all feeds of a gateway may have together. Over it, a feed lets go of twice as much as
/// comes, until it has [`MIN_RING`]: older cursors are then replayed by the runtime.
pub const MAX_FRAME_MEMORY: usize = 256 << 20;

/// How many bytes a feed keeps in any case.
pub const MIN_RING: usize = 64 << 10;

/// The longest time over which viewers are told to go when the gateway shuts down, so that not all come back at once.
pub const GOING_AWAY_OVER: Duration = Duration::from_secs(5);

/// How much of that time each viewer adds, so that few viewers do not wait for as long as thousands.
pub const GOING_AWAY_EACH: Duration = Duration::from_millis(2);

/// The longest time for the last frame and the closing handshake (RFC 6455, 7.1.1).
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time for which the head of a stream of server-sent events waits for the first frame, so that an error
/// before it can be an HTTP error.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message of a viewer that is read, in bytes. Any message ends the stream.
pub const MAX_VIEWER_MESSAGE: usize = 4 << 10;

/// How many bytes of a viewer may be read without being a message: the largest one, and as much again for the heads of its
/// fragments, which may be empty. More of them end the stream as a message does.
pub const MAX_UNFINISHED_MESSAGE: usize = 2 * MAX_VIEWER_MESSAGE;

/// How many bytes of a viewer are read at once: it sends nothing but pings, pongs and a close.
pub const VIEWER_READ_BUFFER: usize = 512;

/// How many bytes of small frames are gathered before they are written.
pub const GATHER: usize = 16 << 10;

/// How much a WebSocket library may keep to be written, in bytes: nothing but pings, pongs and a close.
pub const CONTROL_BUFFER: usize = 512;

/// How many server-sent events may wait for a client that reads slowly.
pub const EVENTS_AHEAD: usize = 4;

/// How many updates a [replica](super::FeedReplica) may be behind before it takes another copy of the feed.
pub const MAX_UPDATES_BEHIND: usize = 256;

/// How many frames of a replay stream are read before a viewer has asked for them; its ring holds four times as many.
pub const REPLAY_AHEAD: usize = 64;

/// How many bytes these may have, but for the last; its ring holds four times as many, and one event of any size.
pub const REPLAY_AHEAD_BYTES: usize = 128 << 10;

/// How long a replay stream may last while others wait for its place.
pub const REPLAY_TURN: Duration = Duration::from_secs(20);

/// The longest time that a viewer waits for its turn to have a replay stream. It is then told `too_many_viewers`.
pub const REPLAY_PATIENCE: Duration = Duration::from_secs(120);

/// How often a viewer looks whether its turn has come.
pub const REPLAY_WAITS: Duration = Duration::from_millis(50);

/// How often a replay stream looks whether it has to make room.
pub const REPLAY_LOOKS: Duration = Duration::from_secs(1);

//! Names and bytes of blocks. Never knows tasks, messages' meaning or arithmetic.

mod buf;
mod key;
mod len;
mod pool;

pub use buf::{Block, BlockBuf, Digest};
pub use key::{BlockKey, Indices, ParseKeyError, RANK_MAX};
pub use len::BlockLen;
pub use pool::{POOL_BYTES_MAX_DEFAULT, pool_bytes, set_pool_bytes_max};

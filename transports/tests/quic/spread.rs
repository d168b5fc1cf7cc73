//! One block that many nodes want at once: who gives it to whom.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerwren_transports::block::{Block, BlockKey, BlockLen};
use peerwren_transports::identity::NodeId;
use peerwren_transports::quic::{BlockSource, Expected, FetchError, Incoming, Limits, Node};

use super::support::{
    Run, block, key, limits, local, name, now, raw_endpoint, request, run, status, until,
};

const LEN: usize = 1 << 20;
const HOLDER: NodeId = NodeId::Worker(0);

/// Blocks that a node keeps, and to whom it gave how many bytes.
#[derive(Default)]
struct Kept {
    blocks: Mutex<BTreeMap<BlockKey, Block>>,
    gave: Mutex<BTreeMap<NodeId, u64>>,
}

impl BlockSource for Kept {
    fn get(&self, key: &BlockKey) -> Option<Block> {
        self.blocks.lock().unwrap().get(key).cloned()
    }

    fn served(&self, peer: NodeId, bytes: u64) {
        *self.gave.lock().unwrap().entry(peer).or_default() += bytes;
    }
}

/// A node that keeps what it fetches.
struct Keeper {
    node: Node,
    kept: Arc<Kept>,
    _channels: Incoming,
}

impl Keeper {
    /// The holder of block 0 and askers 1, 2, ..., each of whom knows where the others are.
    fn all(run: &Run, askers: u32, limits: &Limits) -> Vec<Self> {
        let keepers: Vec<_> = (0..=askers)
            .map(|number| {
                let kept = Arc::new(Kept::default());
                let identity = run.authority.issue(NodeId::Worker(number), now()).unwrap();
                let (node, channels) =
                    Node::bind(&identity, local(), kept.clone(), limits.clone()).unwrap();
                Self {
                    node,
                    kept,
                    _channels: channels,
                }
            })
            .collect();
        for one in &keepers {
            for other in &keepers {
                one.node.meet(other.node.id(), other.node.candidates());
            }
        }
        keepers[0].keep(&block(0, LEN));
        keepers
    }

    fn keep(&self, block: &Block) {
        let mut blocks = self.kept.blocks.lock().unwrap();
        blocks.insert(key(0), block.clone());
    }

    async fn ask(&self, peer: NodeId, in_vain: Option<NodeId>) -> Result<Block, FetchError> {
        let expected = Expected {
            len: BlockLen::Exactly(LEN),
            digest: Some(block(0, LEN).digest()),
        };
        let fetch = self
            .node
            .fetch_by_path(peer, key(0), Some(expected), in_vain);
        fetch.await
    }

    /// Fetches the block from the holder or whoever it is referred to, and keeps it: from whom it came.
    async fn have(&self) -> NodeId {
        let mut peer = HOLDER;
        loop {
            match self.ask(peer, None).await {
                Ok(block) => {
                    self.keep(&block);
                    return peer;
                }
                Err(FetchError::Referred(to)) => peer = to,
                Err(error) => panic!("{peer} did not deliver: {error}"),
            }
        }
    }
}

/// A peer that asks for blocks and never takes them: it has a node's turns until it is let go.
struct Hog {
    _conn: quinn::Connection,
    streams: Vec<(quinn::SendStream, quinn::RecvStream)>,
}

impl Hog {
    async fn of(run: &Run, holder: &Node, turns: usize) -> Self {
        let endpoint = raw_endpoint(&run.authority, NodeId::Worker(99), true);
        let connecting = endpoint.connect(holder.local_addr(), &name(holder.id()));
        let conn = connecting.unwrap().await.unwrap();
        let mut streams = Vec::new();
        for _ in 0..turns {
            let (mut send, mut recv) = conn.open_bi().await.unwrap();
            send.write_all(&request(key(0))).await.unwrap();
            assert_eq!(status(&mut recv).await, 0);
            streams.push((send, recv));
        }
        Self {
            _conn: conn,
            streams,
        }
    }

    fn let_go(&mut self) {
        for (send, recv) in &mut self.streams {
            send.reset(0u32.into()).unwrap();
            recv.stop(0u32.into()).unwrap();
        }
    }
}

/// Turns last until the hog lets go, however slow this machine is.
fn patient() -> Limits {
    limits(|limits| {
        limits.outgoing_lagging_max = 0;
        limits.stall_timeout = Duration::from_secs(100);
        limits.fetch_timeout = Duration::from_secs(100);
        limits.handshake_timeout = Duration::from_secs(100);
        limits.idle_timeout = Duration::from_secs(100);
    })
}

/// Eight nodes ask one at once: with referrals it gives four of them the block, and they the others;
/// without, all eight.
#[test]
fn a_block_that_eight_want_at_once_leaves_its_holder_four_times() {
    const ASKERS: usize = 8;
    let referring = patient();
    let mut alone = patient();
    alone.refer_bytes_min = LEN + 1;
    for (limits, by_holder) in [(referring, 4), (alone, ASKERS)] {
        run(async {
            let run = Run::new();
            let mut keepers = Keeper::all(&run, ASKERS as u32, &limits);
            let holder = keepers.remove(0);
            let mut hog = Hog::of(&run, &holder.node, limits.outgoing_max).await;
            let askers: Vec<_> = keepers.into_iter().map(Arc::new).collect();
            let asking = askers.iter().map(|asker| {
                let asker = asker.clone();
                tokio::spawn(async move { (asker.node.id(), asker.have().await) })
            });
            let asking: Vec<_> = asking.collect();
            until(|| holder.node.stats().waiting == ASKERS as u64).await;
            hog.let_go();

            let mut pairs = Vec::new();
            for came in asking {
                let (to, from) = came.await.unwrap();
                pairs.push((from, to));
            }
            let nodes = || askers.iter().map(|asker| &**asker).chain([&holder]);
            let served = |keeper: &Keeper| keeper.node.stats().served as usize;
            until(|| nodes().map(served).sum::<usize>() == ASKERS).await;
            assert_eq!(served(&holder), by_holder);
            let referred = holder.node.stats().referred as usize;
            assert_eq!(referred, ASKERS - by_holder);
            // Each has it once, from whom it says: givers and receivers count the same pairs.
            let mut gave = Vec::new();
            for giver in nodes() {
                for (to, bytes) in &*giver.kept.gave.lock().unwrap() {
                    assert_eq!(*bytes, LEN as u64);
                    gave.push((giver.node.id(), *to));
                }
                assert_eq!(giver.kept.get(&key(0)), Some(block(0, LEN)));
            }
            pairs.sort_unstable();
            gave.sort_unstable();
            assert_eq!(pairs, gave);
        });
    }
}

#[test]
fn whoever_was_referred_in_vain_is_served_and_nobody_else_is_sent_there() {
    run(async {
        let run = Run::new();
        let keepers = Keeper::all(&run, 3, &patient());
        let [holder, forgetful, second, third] = &keepers[..] else {
            panic!("four nodes");
        };
        // It has the block and lets it go at once.
        forgetful.ask(HOLDER, None).await.unwrap();
        until(|| holder.node.stats().served == 1).await;
        let mut hog = Hog::of(&run, &holder.node, 2).await;
        let referred = second.ask(HOLDER, None).await;
        assert_eq!(referred, Err(FetchError::Referred(forgetful.node.id())));
        let not_there = second.ask(forgetful.node.id(), None).await;
        assert_eq!(not_there, Err(FetchError::NotFound));
        let waiting = |count| move || holder.node.stats().waiting == count;
        let again = async {
            let again = second.ask(HOLDER, Some(forgetful.node.id()));
            again.await.map(|block| second.keep(&block))
        };
        let other = async {
            until(waiting(1)).await;
            third.ask(HOLDER, None).await
        };
        let letting_go = async {
            until(waiting(2)).await;
            hog.let_go();
        };
        let (again, other, ()) = tokio::join!(again, other, letting_go);
        assert_eq!(again, Ok(()));
        assert_eq!(other, Ok(block(0, LEN)));
        until(|| holder.node.stats().served == 3).await;
        assert_eq!(holder.node.stats().referred, 1);
        assert_eq!(forgetful.node.stats().not_found, 1);
    });
}

/// A peer that is gone is nobody's to be referred to.
#[test]
fn nobody_is_referred_to_a_peer_that_left() {
    run(async {
        let run = Run::new();
        let keepers = Keeper::all(&run, 3, &patient());
        let [holder, first, second, third] = &keepers[..] else {
            panic!("four nodes");
        };
        for asker in [first, second] {
            assert_eq!(asker.have().await, HOLDER);
        }
        until(|| holder.node.stats().served == 2).await;
        holder.node.forget(first.node.id());
        let _hog = Hog::of(&run, &holder.node, 2).await;
        let referred = third.ask(HOLDER, None).await;
        assert_eq!(referred, Err(FetchError::Referred(second.node.id())));
        assert_eq!(third.have().await, second.node.id());
    });
}

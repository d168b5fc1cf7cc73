//! The threads of a worker that run kernels: one thread a task, scratch kept between tasks. Knows
//! nothing of keys, caches or messages.

use std::num::NonZero;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use peerwren_kernels::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use peerwren_kernels::tile::{Shape, TileMut, TileRef};
use peerwren_transports::block::{Block, BlockBuf};

use super::clock::Clock;
use crate::machine::worker::Ran;

/// Niceness of compute threads.
const COMPUTE_NICE: i32 = 5;

/// A kernel and what it reads.
pub(crate) struct Job {
    pub(crate) kernel: KernelOp,
    pub(crate) inputs: Vec<Option<(Shape, Block)>>,
    pub(crate) outputs: Vec<Option<Shape>>,
    /// Which outputs are hashed, while they are in this core's cache.
    pub(crate) hashed: Vec<bool>,
    pub(crate) then: Box<dyn FnOnce(Computed) + Send>,
}

/// What came of a job.
pub(crate) struct Computed {
    /// One block for each present output, or why the kernel refused.
    pub(crate) result: Result<Vec<Option<Block>>, KernelError>,
    /// Where and when.
    pub(crate) ran: Ran,
}

/// Compute threads; they end when this is dropped.
pub(crate) struct ComputePool {
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl ComputePool {
    /// Starts `cores` threads; `clock` shows when each job began.
    pub(crate) fn start(cores: NonZero<u32>, clock: Clock) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..cores.get())
            .map(|thread| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new()
                    .name(format!("compute-{thread}"))
                    .spawn(move || {
                        yield_to_io();
                        let mut scratch = Vec::new();
                        loop {
                            let job = match queue.lock() {
                                Ok(queue) => queue.recv(),
                                Err(_) => return,
                            };
                            let Ok(job) = job else { return };
                            run(job, &mut scratch, thread, clock);
                        }
                    })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            jobs: Some(jobs),
            threads,
        })
    }

    /// Queues a job.
    pub(crate) fn submit(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The threads outlive the sender, so that the queue takes every job.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for ComputePool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic of the thread was already reported as that job's failure.
            let _ = thread.join();
        }
    }
}

/// Lowers this thread's priority, so that the threads that move blocks run as soon as they wake
/// wherever there are more busy threads than cores.
fn yield_to_io() {
    // Only the order of threads depends on it: where it is refused, all works as before.
    let _ = rustix::process::setpriority_process(None, COMPUTE_NICE);
}

fn run(job: Job, scratch: &mut Vec<f64>, thread: u32, clock: Clock) {
    let shapes: Vec<_> = job
        .inputs
        .iter()
        .map(|i| i.as_ref().map(|(shape, _)| *shape))
        .collect();
    let words = job.kernel.scratch_words(&TaskShapes {
        inputs: &shapes,
        outputs: &job.outputs,
    });
    if scratch.len() < words {
        scratch.resize(words, 0.0);
    }
    let mut buffers: Vec<_> = job
        .outputs
        .iter()
        .map(|s| s.map(|s| (s, BlockBuf::with_len(s.bytes()))))
        .collect();
    let inputs: Vec<_> = job
        .inputs
        .iter()
        .map(|i| {
            i.as_ref().map(|(shape, block)| TileRef {
                shape: shape.of_words(block.as_f64().len()).unwrap_or(*shape),
                data: block.as_f64(),
            })
        })
        .collect();
    let mut outputs: Vec<_> = buffers
        .iter_mut()
        .map(|o| {
            o.as_mut()
                .map(|(shape, buf)| TileMut::new(*shape, buf.as_f64_mut()))
        })
        .collect();
    let began = clock.now();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        job.kernel.run(&mut TaskTiles {
            inputs: &inputs,
            outputs: &mut outputs,
            scratch: &mut scratch[..words],
        })
    }));
    let compute_ns = clock.now().as_nanos() - began.as_nanos();
    let made: Vec<_> = outputs
        .iter()
        .map(|o| o.as_ref().map(|o| o.shape))
        .collect();
    drop((inputs, outputs));
    drop(job.inputs);
    let result = match caught {
        Ok(Ok(())) => {
            let blocks = buffers.into_iter().zip(made);
            let blocks = blocks.map(|(o, made)| Some(frozen(o?.1, made?)));
            let blocks: Vec<Option<Block>> = blocks.collect();
            let hashed = blocks
                .iter()
                .zip(&job.hashed)
                .filter(|(_, hashed)| **hashed);
            for block in hashed.filter_map(|(block, _)| block.as_ref()) {
                block.digest();
            }
            Ok(blocks)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(KernelError::Failed(format!(
            "kernel {} panicked; see the lines above",
            job.kernel.name()
        ))),
    };
    let ran = Ran {
        thread,
        began,
        compute_ns,
    };
    (job.then)(Computed { result, ran });
}

/// The block of a tile that a kernel has made: a short one has memory of its own length, so that what the
/// cache counts is what is taken.
fn frozen(buf: BlockBuf, made: Shape) -> Block {
    if made.bytes() < buf.len() {
        BlockBuf::from_bytes(&buf.as_bytes()[..made.bytes()]).freeze()
    } else {
        buf.freeze()
    }
}

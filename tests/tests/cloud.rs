//! Tests against servers and networks on this machine: object stores, what runs on them, NATs. One binary,
//! since each links for long.

#[path = "cloud/emulator.rs"]
mod emulator;
#[path = "cloud/lambda.rs"]
mod lambda;
#[path = "cloud/lambda_service.rs"]
mod lambda_service;
#[path = "cloud/nat.rs"]
mod nat;
#[path = "cloud/remote.rs"]
mod remote;
#[path = "cloud/runs.rs"]
mod runs;
#[path = "cloud/s3.rs"]
mod s3;
#[path = "cloud/seaweedfs.rs"]
mod seaweedfs;
#[path = "cloud/secrets.rs"]
mod secrets;
#[path = "cloud/stores.rs"]
mod stores;
#[path = "cloud/zarr.rs"]
mod zarr;

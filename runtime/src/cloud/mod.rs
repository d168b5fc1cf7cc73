//! The Lambda function that workers run in: how it is packaged, deployed, checked and destroyed. Never
//! starts a worker: that is the engine's, which asks here what the function allows.
//!
//! # From nothing to a QR on Lambda
//!
//! With credentials of an AWS account where every SDK finds them (environment, `~/.aws`, or a machine's
//! role) and a region (`AWS_REGION`):
//!
//! ```text
//! cargo install --locked --path runtime
//! aws s3 mb s3://BUCKET
//! aws iam create-role --role-name peerwren --assume-role-policy-document "$(peerwren lambda policy --trust)" &&
//!     aws iam put-role-policy --role-name peerwren --policy-name peerwren \
//!         --policy-document "$(peerwren lambda policy --store s3://BUCKET)"
//! peerwren lambda deploy ~/.cargo/bin/bootstrap --name peerwren --role arn:aws:iam::ACCOUNT:role/peerwren
//! peerwren qr random:8192x8192 --engine lambda:peerwren --workers 4 --store s3://BUCKET --check
//! ```
//!
//! The package is an executable `bootstrap` that peerwren zips, or a zip that `cargo lambda build --release
//! --output-format zip` made: the latter also cross-compiles to arm64 and to the C library of Lambda's
//! system (Amazon Linux 2023, glibc 2.34), which a `bootstrap` built on a newer system may miss.
//!
//! # What the function must be like
//!
//! Lambda retries a failed event twice, hours later if need be, and may deliver an event twice: workers
//! that nobody waits for, and that bill. So [`Functions::deploy`] sets MaximumRetryAttempts to 0 and
//! MaximumEventAgeInSeconds to 60, the least; [`Facts::problems`] finds where that is not so, and the
//! engine refuses such a function. Whether two Lambdas reach each other directly over UDP depends on AWS's
//! network and was not tested on AWS: `peerwren doctor` measures it, and where it fails blocks go through
//! the store.

mod error;
mod facts;
mod fit;
mod functions;
mod package;
mod policy;

pub use error::CloudError;
pub use facts::Facts;
pub use fit::{FitError, assumed, fit};
pub use functions::{DeployOptions, EVENT_AGE_S, Functions, RETRIES, UpdateOptions};
pub use package::{Architecture, Package, PackageError};
pub use policy::{role_policy, trust_policy};

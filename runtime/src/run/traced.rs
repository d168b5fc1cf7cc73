//! The trace of one run: opened before its first task, written after its last word. Records nothing.

use std::sync::{Arc, Mutex};

use super::{Run, RunError};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::trace::Spool;

impl Run {
    /// Where a traced run's events go until its end.
    pub(super) fn spool(&self) -> Result<Option<Arc<Mutex<Spool>>>, RunError> {
        let Some(trace) = &self.trace else {
            return Ok(None);
        };
        let spool = Spool::open(&trace.path, self.spec.run);
        let spool = spool.map_err(|error| RunError::Usage(trace.failed(&error)))?;
        Ok(Some(Arc::new(Mutex::new(spool))))
    }

    /// Writes the trace, of a run that failed too; says why there is none.
    pub(super) async fn finish_trace(
        &self,
        spool: Option<Arc<Mutex<Spool>>>,
        plan: &Arc<Plan>,
        outcome: &Result<Outcome, RunError>,
    ) -> Option<String> {
        let (trace, spool) = (self.trace.clone()?, spool?);
        let said = match outcome {
            Ok(_) => "complete".to_owned(),
            Err(error) => error.to_string(),
        };
        let plan = Arc::clone(plan);
        let write = move || {
            let mut spool = spool.lock().map_err(|_| "its events are lost".to_owned())?;
            let written = spool.finish(&trace, &plan, &said);
            written.map_err(|error| trace.failed(&error))
        };
        let written = tokio::task::spawn_blocking(write).await;
        let failed = written
            .unwrap_or_else(|error| Err(error.to_string()))
            .err()?;
        if outcome.is_err() {
            tracing::error!("{failed}");
        }
        Some(failed)
    }
}

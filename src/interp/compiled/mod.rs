//! The compiled interpreter: a program becomes a plan once, and the plan runs many times.
//!
//! Planning flattens calls, drops dead code, groups elementwise equations and reductions of rows ([`group`]) into programs that run
//! tile by tile ([`tiled`]), gives every value a slot and finds out where it is read last. A run is one pass over the steps:
//! storage comes from a pool that is kept between runs, an operand that dies becomes the storage of a result, views copy nothing,
//! and a contraction is as few matrix products as strides allow ([`contract`]). What has no kernel here is computed as the
//! reference interpreter does.

mod blocks;
mod contract;
mod conv;
mod group;
mod kept;
#[allow(unsafe_code, reason = "each block gives its reason")]
mod kernels;
mod moves;
mod parallel;
pub(crate) mod peak;
mod plan;
mod profile;
mod recompute;
mod reduce;
mod sort;
mod step;
mod storage;
mod tiled;
mod view;
mod window;

pub(crate) use step::eager;

use crate::{array::Buffer, error::Result, trace::Jaxpr};
use plan::Plan;
use std::sync::{Arc, Mutex, PoisonError};
use step::Machine;

/// A program that is ready to run, from any thread.
pub(crate) struct Executable {
    plan: Plan,
    /// What runs have left behind for the next.
    machines: Mutex<Vec<Machine>>,
}

impl Executable {
    /// Plan a program that captures nothing but numbers.
    pub(crate) fn new(j: &Jaxpr) -> Result<Executable> {
        Ok(Executable {
            plan: Plan::new(j)?,
            machines: Mutex::default(),
        })
    }

    /// About how long it takes in one thread.
    fn nanoseconds(&self) -> f64 {
        self.plan.nanoseconds
    }

    /// Run it.
    pub(crate) fn run(&self, args: &[Arc<Buffer>]) -> Result<Vec<Arc<Buffer>>> {
        let machines = || self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut machine = machines().pop().unwrap_or_default();
        /// From how many nanoseconds on it is worth having all threads ready.
        const LONG: f64 = 300_000.0;
        let results = if self.plan.nanoseconds > LONG {
            parallel::together(|| self.plan.run(&mut machine, args))
        } else {
            self.plan.run(&mut machine, args)
        };
        machines().push(machine);
        results
    }
}

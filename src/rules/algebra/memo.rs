//! Islands that have been solved: equal problems are solved once in a process.
//!
//! A [`Problem`] names nothing, so islands that differ by names alone share an entry. The memo is bounded; when it is full the
//! oldest entries go.

use super::cost::CostModel;
use super::lower::Refusal;
use super::problem::Problem;
use super::solve::{Solution, solve};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The most problems that are kept.
const MOST_ENTRIES: usize = 1024;
/// Problems of more steps are not kept.
const MOST_STEPS: usize = 2000;

/// What came of a problem.
pub(super) type Outcome = Arc<Result<Solution, Refusal>>;

#[derive(Default)]
struct Memo {
    entries: FxHashMap<Arc<Problem>, Outcome>,
    order: VecDeque<Arc<Problem>>,
}

static MEMO: LazyLock<Mutex<Memo>> = LazyLock::new(Mutex::default);

/// Forgets all plans, so that the next program is planned anew: for measurements.
pub fn forget() {
    *MEMO.lock().unwrap_or_else(PoisonError::into_inner) = Memo::default();
}

/// The solution of a problem under the default cost model, from the memo if it is there.
pub(super) fn solved(problem: &Problem) -> Outcome {
    // A panic elsewhere cannot leave an entry half made.
    let lock = || MEMO.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().entries.get(problem) {
        return known.clone();
    }
    let outcome = Arc::new(solve(problem, &CostModel::current()));
    keep(problem.clone(), outcome.clone());
    outcome
}

/// Shows every problem that is known, with what came of it.
pub(super) fn each_known(mut see: impl FnMut(&Problem, &Outcome)) {
    let memo = MEMO.lock().unwrap_or_else(PoisonError::into_inner);
    for (problem, outcome) in &memo.entries {
        see(problem, outcome);
    }
}

/// Keeps what came of a problem.
pub(super) fn keep(problem: Problem, outcome: Outcome) {
    if problem.steps.len() <= MOST_STEPS {
        let key = Arc::new(problem);
        let mut memo = MEMO.lock().unwrap_or_else(PoisonError::into_inner);
        if memo.entries.insert(key.clone(), outcome).is_none() {
            memo.order.push_back(key);
        }
        while memo.order.len() > MOST_ENTRIES {
            if let Some(oldest) = memo.order.pop_front() {
                memo.entries.remove(&oldest);
            }
        }
    }
}

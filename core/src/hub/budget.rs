//! The bytes that operations in progress share, and the operations that wait for some.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::Hub;
use super::operation::{Operation, Phase, Plan};

/// Windows are never smaller than this, however many parts share them.
const MIN_WINDOW: u64 = 1024;

/// One operation in progress gets at most this share of what is free. So operations whose receivers have stopped
/// reading leave room for those that come after them.
const LARGEST_SHARE: u64 = 4;

/// Bytes that operations hold while they are in progress. Who asks when there are too few waits for its turn.
pub(super) struct Budget {
    total: u64,
    free: u64,
    waiting: VecDeque<(u64, Need)>,
}

/// What an operation asks for.
#[derive(Clone, Copy)]
enum Need {
    /// A window for each of so many parts.
    Windows(u64),
    /// So many bytes.
    Bytes(u64),
}

impl Budget {
    pub(super) fn new(total: u64) -> Self {
        Self { total, free: total, waiting: VecDeque::new() }
    }

    pub(super) fn held(&self) -> u64 {
        self.total - self.free
    }

    /// How large the window of each part is to be, and how many bytes are to be held.
    fn size_up(&self, need: Need, max_window: u64) -> (u64, u64) {
        let (window, bytes) = match need {
            Need::Bytes(bytes) => (0, bytes),
            Need::Windows(parts) => {
                let window = max_window.min(self.free / LARGEST_SHARE / parts.max(1)) & !63;
                let window = window.max(MIN_WINDOW);
                (window, window.saturating_mul(parts))
            }
        };
        (window, bytes.min(self.total))
    }
}

impl Hub {
    /// Holds windows for every part at once, so that two operations never starve each other half-served. A user's
    /// operation takes its inputs whole, so these have a budget of their own.
    pub(super) fn reserve_windows(&mut self, operation: &mut Operation) {
        operation.phase = Phase::Waiting;
        let need = match operation.plan {
            Plan::Fold(_) => Need::Windows(operation.all_streams() as u64),
            Plan::Route => Need::Windows(operation.incomplete as u64),
            Plan::Apply { .. } | Plan::Split => {
                Need::Bytes(operation.given.iter().map(|(_, stream)| stream.len).fold(0, u64::saturating_add))
            }
        };
        let operations = &self.operations;
        let budget = if is_whole(operation) { &mut self.inputs } else { &mut self.windows };
        if budget.waiting.len() > 2 * operations.len() + 64 {
            // Those that failed before it was their turn.
            budget.waiting.retain(|(id, _)| operations.contains_key(id));
        }
        budget.waiting.push_back((operation.id, need));
    }

    /// Starts operations in the order in which they asked, as far as there is room. Called at the end of whatever may
    /// make some, when every operation is in the table: so one that starts and fails never starts another from within.
    pub(super) fn start_waiting(&mut self) {
        while let Some(mut operation) = self.next_with_room() {
            self.start(&mut operation);
            self.put_back(operation);
        }
    }

    /// The next operation for which there is room, which it holds from now on.
    fn next_with_room(&mut self) -> Option<Box<Operation>> {
        let max_window = self.config.window;
        for budget in [&mut self.windows, &mut self.inputs] {
            while let Some(&(id, need)) = budget.waiting.front() {
                let waits = self.operations.get(&id).is_some_and(|operation| operation.phase == Phase::Waiting);
                let (window, bytes) = budget.size_up(need, max_window);
                if waits && bytes > budget.free {
                    break;
                }
                budget.waiting.pop_front();
                if waits && let Some(mut operation) = self.operations.remove(&id) {
                    budget.free -= bytes;
                    (operation.window, operation.reserved) = (window, bytes);
                    return Some(operation);
                }
            }
        }
        None
    }

    pub(super) fn return_windows(&mut self, operation: &mut Operation) {
        let budget = if is_whole(operation) { &mut self.inputs } else { &mut self.windows };
        budget.free += core::mem::take(&mut operation.reserved);
    }
}

/// Whether what is given to an operation is held whole.
fn is_whole(operation: &Operation) -> bool {
    matches!(operation.plan, Plan::Apply { .. } | Plan::Split)
}

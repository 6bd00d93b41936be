//! A progress bar on a terminal, and now and then a line elsewhere.

use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

/// How far a loop of known length is.
pub struct Progress {
    name: &'static str,
    total: usize,
    done: usize,
    terminal: bool,
    drawn: Option<Instant>,
}

impl Progress {
    pub fn new(name: &'static str, total: usize) -> Progress {
        Progress {
            name,
            total,
            done: 0,
            terminal: stderr().is_terminal(),
            drawn: None,
        }
    }

    /// One step more, of which `what` says something; it is asked only when it is shown.
    pub fn step(&mut self, what: impl FnOnce() -> String) {
        self.done += 1;
        let last = self.done >= self.total;
        if self.terminal {
            let now = Instant::now();
            let recent = |t: Instant| now.duration_since(t) < Duration::from_millis(50);
            if !last && self.drawn.is_some_and(recent) {
                return;
            }
            self.drawn = Some(now);
            const WIDTH: usize = 30;
            let filled = WIDTH * self.done / self.total.max(1);
            eprint!(
                "\r\x1b[2K{:9} [{}{}] {}",
                self.name,
                "█".repeat(filled),
                "░".repeat(WIDTH - filled.min(WIDTH)),
                what()
            );
            if last {
                eprintln!();
            }
            let _ = stderr().flush();
        } else if last || self.done.is_multiple_of(self.total.div_ceil(5)) {
            eprintln!("{:9} {:4}/{} {}", self.name, self.done, self.total, what());
        }
    }
}

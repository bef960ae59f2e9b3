//! The latest frames of many environments. Each is written once, and copied only when a stack is gathered.

use crate::env::RestoreError;
use std::fmt::Write;

/// A ring of buffers, `[n_envs, frame_bytes]` each: one for every frame of a stack, and one more for the stack before
/// the latest step.
pub(crate) struct Frames {
    ring: Vec<Vec<u8>>,
    /// Index of the buffer of the present frames.
    now: usize,
    depth: usize,
    frame_bytes: usize,
    /// Frames of each environment's episode before the present one, counted up to the length of the ring.
    older: Vec<usize>,
    /// `older` before the latest step.
    were_older: Vec<usize>,
}

impl Frames {
    /// Frames of zeros for stacks of `depth`.
    pub(crate) fn new(n_envs: usize, frame_bytes: usize, depth: usize) -> Self {
        let ring = vec![vec![0; n_envs * frame_bytes]; depth + 1];
        Self { ring, now: 0, depth, frame_bytes, older: vec![0; n_envs], were_older: vec![0; n_envs] }
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The frames of all environments `ago` steps ago.
    pub(crate) fn ago(&self, ago: usize) -> &[u8] {
        let len = self.ring.len();
        &self.ring[(self.now + len - ago) % len]
    }

    pub(crate) fn now_mut(&mut self) -> &mut [u8] {
        &mut self.ring[self.now]
    }

    /// Makes the oldest buffer the present one, which is to be written.
    pub(crate) fn advance(&mut self) {
        self.now = (self.now + 1) % self.ring.len();
        self.were_older.copy_from_slice(&self.older);
        // The count stops at the length of the ring: more is never asked for, and an episode may last for ever.
        let ring_len = self.ring.len();
        self.older.iter_mut().for_each(|older| *older = (*older + 1).min(ring_len));
    }

    /// The present frames, and for each environment the number of older ones in its episode: 0 if it begins.
    pub(crate) fn now_and_begun(&mut self) -> (&mut [u8], &mut [usize]) {
        (&mut self.ring[self.now], &mut self.older)
    }

    /// Begins an episode of `env_idx` with its present frame.
    pub(crate) fn begin(&mut self, env_idx: usize) {
        self.older[env_idx] = 0;
    }

    /// Fills `out` with frames of `env_idx`, oldest first, the last of them the one `ago` (0 or 1) steps ago. Frames
    /// before the episode's first are repeats of it.
    pub(crate) fn stack(&self, env_idx: usize, ago: usize, out: &mut [u8]) {
        let older = if ago == 0 { self.older[env_idx] } else { self.were_older[env_idx] };
        for (age, out) in out.chunks_exact_mut(self.frame_bytes).rev().enumerate() {
            out.copy_from_slice(self.frame(env_idx, ago + age.min(older)));
        }
    }

    fn frame(&self, env_idx: usize, ago: usize) -> &[u8] {
        &self.ago(ago)[env_idx * self.frame_bytes..][..self.frame_bytes]
    }

    /// Returns the frames before the present one in the stack of `env_idx`, the latest first, as text.
    pub(crate) fn save_older(&self, env_idx: usize) -> Vec<String> {
        let n_older = self.older[env_idx].min(self.depth - 1);
        (1..=n_older).map(|ago| to_text(self.frame(env_idx, ago))).collect()
    }

    /// Restores the frames that [`Frames::save_older`] returned.
    ///
    /// # Errors
    /// When the frames are of another size.
    pub(crate) fn restore_older(&mut self, env_idx: usize, saved: &[String]) -> Result<(), RestoreError> {
        let len = self.ring.len();
        if saved.len() >= self.depth.max(1) {
            let n = saved.len();
            return Err(RestoreError::unreadable(format_args!("{n} older frames of a stack of {}", self.depth)));
        }
        for (ago, text) in (1..self.depth).zip(saved) {
            let at = env_idx * self.frame_bytes;
            let frame = &mut self.ring[(self.now + len - ago) % len][at..at + self.frame_bytes];
            from_text(text, frame).ok_or_else(|| {
                RestoreError::unreadable(format_args!("a frame does not have {} bytes", self.frame_bytes))
            })?;
        }
        self.older[env_idx] = saved.len();
        Ok(())
    }
}

/// Encodes a frame as runs of equal bytes: four hexadecimal digits of length and two of the byte.
pub(crate) fn to_text(frame: &[u8]) -> String {
    let mut text = String::new();
    for run in frame.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(0xFFFF)) {
        write!(text, "{:04x}{:02x}", run.len(), run[0]).expect("a string takes any text");
    }
    text
}

/// Decodes the text that [`to_text`] wrote, or returns `None` if it does not fill `frame`.
pub(crate) fn from_text(text: &str, frame: &mut [u8]) -> Option<()> {
    let mut rest = frame;
    for at in (0..text.len()).step_by(6) {
        let length = usize::from_str_radix(text.get(at..at + 4)?, 16).ok()?;
        let (run, after) = rest.split_at_mut_checked(length)?;
        run.fill(u8::from_str_radix(text.get(at + 4..at + 6)?, 16).ok()?);
        rest = after;
    }
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_from_text() {
        let mut frame = vec![7; 70_000];
        frame[3] = 0;
        let mut back = vec![1; frame.len()];
        assert_eq!(from_text(&to_text(&frame), &mut back), Some(()));
        assert!(back == frame);
        assert_eq!(from_text("000507", &mut [0; 4]), None);
        assert_eq!(from_text("000307", &mut [0; 4]), None);
        assert_eq!(from_text("0004", &mut [0; 4]), None);
    }
}

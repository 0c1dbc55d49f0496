//! A budget of bytes in flight, given out first come first served.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per unit of the semaphore: its counts are 32 bits wide.
const UNIT_BYTES: u64 = 4096;

/// Bounds the bytes held in memory by everyone who shares it.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    whole: u32,
}

/// A share of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub struct Permit {
    units: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Make a budget of about `bytes`, rounded up to 4 KiB.
    pub fn new(bytes: u64) -> Self {
        let whole = units(bytes);
        Self {
            units: Arc::new(Semaphore::new(whole as usize)),
            whole,
        }
    }

    /// Wait for `bytes`; more than the whole budget means the whole budget.
    ///
    /// Served in the order of asking, so a large request is not starved by small ones.
    pub async fn take(&self, bytes: u64) -> Permit {
        let wanted = units(bytes).min(self.whole);
        Permit {
            // Fails only when the semaphore is closed, which nothing does.
            units: Arc::clone(&self.units).acquire_many_owned(wanted).await.ok(),
        }
    }

    /// Take `bytes` if they are free and nobody waits.
    pub fn try_take(&self, bytes: u64) -> Option<Permit> {
        let wanted = units(bytes).min(self.whole);
        let units = Arc::clone(&self.units).try_acquire_many_owned(wanted).ok()?;
        Some(Permit { units: Some(units) })
    }

    /// Return the bytes that are free now.
    pub fn free_bytes(&self) -> u64 {
        (self.units.available_permits() as u64).saturating_mul(UNIT_BYTES)
    }
}

impl Permit {
    /// Give all but `bytes` back.
    pub fn shrink_to(&mut self, bytes: u64) {
        if let Some(held) = &mut self.units {
            let surplus = held.num_permits().saturating_sub(units(bytes) as usize);
            drop(held.split(surplus));
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[tokio::test]
    async fn a_request_over_the_budget_gets_all_of_it() {
        let budget = Budget::new(1 << 20);
        let permit = budget.take(1 << 40).await;
        assert_eq!(budget.free_bytes(), 0);
        drop(permit);
        assert_eq!(budget.free_bytes(), 1 << 20);
    }

    #[tokio::test]
    async fn small_requests_do_not_overtake_a_large_one() {
        let budget = Budget::new(1 << 20);
        let mut held = budget.take(512 << 10).await;
        let large = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(1 << 20).await }
        });
        tokio::task::yield_now().await;
        assert!(budget.try_take(4096).is_none());
        held.shrink_to(4096);
        assert!(!large.is_finished());
        drop(held);
        large.await.unwrap();
        assert_eq!(budget.free_bytes(), 1 << 20);
    }
}

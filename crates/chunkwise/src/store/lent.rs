//! Stores that a program lends under a name: `memory:NAME` names them too, as long as it lends them.

use super::Store;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

static LENT: Mutex<Option<HashMap<String, Arc<dyn Store>>>> = Mutex::new(None);

/// A store that is lent until this is dropped.
#[derive(Debug)]
pub struct Loan {
    name: String,
}

/// Lends a store: `memory:NAME` names it from here on. One that was lent under this name before is no longer.
pub fn lend(name: &str, store: Arc<dyn Store>) -> Loan {
    let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
    lent.get_or_insert_default().insert(name.to_owned(), store);
    Loan { name: name.to_owned() }
}

pub(super) fn find(name: &str) -> Option<Arc<dyn Store>> {
    LENT.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(name).cloned()
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(lent) = LENT.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            lent.remove(&self.name);
        }
    }
}

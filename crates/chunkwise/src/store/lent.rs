//! Stores that a program lends under a name: `memory:NAME` names them too, as long as it lends them.

use super::Store;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

static LENT: Mutex<Option<HashMap<String, Arc<dyn Store>>>> = Mutex::new(None);

/// A store that is lent until this is dropped.
#[derive(Debug)]
pub struct Loan {
    name: String,
    store: Arc<dyn Store>,
}

/// Lends a store: `memory:NAME` names it from here on. One that was lent under this name before is no longer.
pub fn lend(name: &str, store: Arc<dyn Store>) -> Loan {
    let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
    let before = lent.get_or_insert_default().insert(name.to_owned(), store.clone());
    // What is let go may have much to do at its end, of which some may lend.
    drop(lent);
    drop(before);
    Loan { name: name.to_owned(), store }
}

pub(super) fn find(name: &str) -> Option<Arc<dyn Store>> {
    LENT.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(name).cloned()
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(all) = lent.as_mut() else { return };
        let own = all.get(&self.name).is_some_and(|store| Arc::ptr_eq(store, &self.store));
        let taken = if own { all.remove(&self.name) } else { None };
        drop(lent);
        drop(taken);
    }
}

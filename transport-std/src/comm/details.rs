//! What this process attaches to a communicator: a name, and attributes. The hub knows nothing of them.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Comm;
use super::communicators::Membership;

type Attributes = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// What all clones of a communicator share.
#[derive(Default)]
pub(super) struct Details {
    name: Mutex<Option<Arc<str>>>,
    attributes: Mutex<Attributes>,
    /// `None` for a world, which nobody frees. Held for what its drop does.
    _membership: Option<Membership>,
}

impl Details {
    pub(super) fn of(membership: Membership) -> Self {
        Self { _membership: Some(membership), ..Self::default() }
    }

    fn attributes(&self) -> MutexGuard<'_, Attributes> {
        self.attributes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names and attributes.
impl Comm {
    /// Gives the communicator a name (MPI 4.1, chapter 7.8), which clones share, on this rank alone. It is shown where the
    /// communicator is printed.
    ///
    /// ```
    /// let world = edgempi::init().wait()?;
    /// world.comm().set_name("everybody");
    /// assert_eq!(world.comm().name().as_deref(), Some("everybody"));
    /// assert_eq!(format!("{:?}", world.comm()), "Comm(\"everybody\", rank 0 of 1)");
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    pub fn set_name(&self, name: impl Into<String>) {
        *self.details.name.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::from(name.into()));
    }

    /// The name that it was given (MPI 4.1, chapter 7.8).
    pub fn name(&self) -> Option<Arc<str>> {
        self.details.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Attaches a value to the communicator, in this process alone (MPI 4.1, chapter 7.7): for a library that keeps
    /// something for each. There is one value of each type, so use a type of your own; returns the one that was there.
    ///
    /// Clones share attributes; communicators made by [`dup`](Self::dup) and the like begin without. They are dropped
    /// with the last clone, so one that holds a clone itself is never dropped.
    ///
    /// ```
    /// #[derive(Debug, PartialEq)]
    /// struct Rounds(u32);
    ///
    /// let world = edgempi::init().wait()?;
    /// let comm = world.comm();
    /// comm.set_attribute(Rounds(3));
    /// assert_eq!(world.comm().attribute::<Rounds>().as_deref(), Some(&Rounds(3)));
    /// assert_eq!(comm.dup().wait()?.attribute::<Rounds>(), None);
    /// # Ok::<(), edgempi::Error>(())
    /// ```
    pub fn set_attribute<T: Any + Send + Sync>(&self, value: T) -> Option<Arc<T>> {
        let before = self.details.attributes().insert(TypeId::of::<T>(), Arc::new(value));
        before.and_then(|value| value.downcast().ok())
    }

    /// The value of this type that was attached (MPI 4.1, chapter 7.7).
    pub fn attribute<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = self.details.attributes().get(&TypeId::of::<T>()).cloned();
        value.and_then(|value| value.downcast().ok())
    }

    /// Takes the value of this type away (MPI 4.1, chapter 7.7).
    pub fn remove_attribute<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = self.details.attributes().remove(&TypeId::of::<T>());
        value.and_then(|value| value.downcast().ok())
    }
}

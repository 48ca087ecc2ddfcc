//! Moments of the privacy loss of one event.

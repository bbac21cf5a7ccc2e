//! HTML forms as HTTP bodies.

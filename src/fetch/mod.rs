//! `image_url`: downloads that reach public addresses only.

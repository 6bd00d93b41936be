//! Networks: layers as plain trees, with Equinox's constructors and initialisation; activations; losses.

mod activation;
mod attention;
mod conv;
mod dot_product;
mod dropout;
mod embedding;
mod function;
mod linear;
pub mod losses;
mod norm;
mod recurrent;
mod sequential;

use crate::array::attempt;

pub use activation::*;
pub use attention::{Attend, MultiheadAttention, MultiheadAttentionConfig};
pub use conv::{Conv, Conv1d, Conv2d, Conv3d, ConvConfig, PaddingMode, Pool, Sides, Sizes};
pub use dot_product::{DotProduct, dot_product_attention};
pub use dropout::{Dropout, inference_mode};
pub use embedding::{Embedding, RotaryEmbedding, causal_mask};
pub use function::Activation;
pub use linear::{Features, Linear, LinearConfig, Mlp, MlpConfig};
pub use norm::{LayerNorm, RmsNorm};
pub use recurrent::{CellConfig, GruCell, LstmCell};
pub use sequential::{Layer, Sequential};

use function::Fixed;

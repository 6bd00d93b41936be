"""Makes `digits.bin` beside this file from the copy of the UCI digits in scikit-learn's wheel.

    python -m venv /tmp/digits && /tmp/digits/bin/pip install scikit-learn
    /tmp/digits/bin/python data/make_digits.py

README.md beside this file describes the layout. The output does not depend on scikit-learn's version.
"""

import hashlib
import pathlib
import struct

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
images = digits.images.astype(np.uint8)  # [1797, 8, 8], values 0 to 16
labels = digits.target.astype(np.uint8)  # [1797], values 0 to 9
assert images.shape == (1797, 8, 8) and images.max() == 16 and (images == digits.images).all()
assert labels.shape == (1797,) and set(labels.tolist()) == set(range(10))

pixels = images.reshape(len(images), 64)
# Pixel p of an image is bit p of its mask.
masks = (pixels != 0).astype(np.uint64) @ (np.uint64(1) << np.arange(64, dtype=np.uint64))
# A pixel that is not zero is 1 to 16: one less fits four bits.
nibbles = pixels[pixels != 0] - 1
nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
values = nibbles[0::2] | (nibbles[1::2] << 4)

data = b"digits1\n" + struct.pack("<IBBBB", len(images), 8, 8, 16, 10)
data += labels.tobytes() + masks.astype("<u8").tobytes() + values.tobytes()
path = pathlib.Path(__file__).with_name("digits.bin")
path.write_bytes(data)
print(path, len(data), "bytes, sha256", hashlib.sha256(data).hexdigest())

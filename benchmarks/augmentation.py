"""How many images a second one core augments: decoded images in, changed images of the network's size out.

    python -m benchmarks.augmentation --data pikachu --data-dir DIR

The time is the processor's, so that other work on the machine does not count.
"""

import argparse
import time

from ssd_common.config import ModelConfig
from ssd_common.config.augment import AUGMENTATIONS
from ssd_common.data import load_dataset
from ssd_common.data.augment.augmentation import augment, picture_rng


def pictures_per_second(examples, config, size, seconds):
    """Return how many images a second of processor time are augmented, in turn, for at least so many seconds."""
    done, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for index, (image, labels, _) in enumerate(examples):
            augment(image, labels, config, size, picture_rng(0, done, index))
        done += 1
    return done * len(examples) / spent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic", help="dataset (default: synthetic)")
    parser.add_argument("--data-dir", help="folder of datasets that are files (default: TINYSSD_DATA)")
    parser.add_argument("--pictures", type=int, default=50, help="how many of them, in memory (default: 50)")
    parser.add_argument("--size", type=int, default=ModelConfig().image_size, help="of the results (default: 256)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each augmentation (default: 2)")
    options = parser.parse_args()
    data = load_dataset(options.data, "train", data_dir=options.data_dir, limit=options.pictures)
    examples = [data[index] for index in range(len(data))]
    height, width = examples[0][0].shape[:2]
    print(f"{data.name}, {len(examples)} images, the first {width} x {height}, to {options.size} x {options.size}")
    for name, config in AUGMENTATIONS.items():
        print(f"{name:<14} {pictures_per_second(examples, config, options.size, options.seconds):6.0f} pictures/s")


if __name__ == "__main__":
    main()

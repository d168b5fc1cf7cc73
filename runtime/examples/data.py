"""Writes data sets that scikit-learn ships as .npy files, for the examples beside this file.

    data.py FOLDER

diabetes: 442 patients, 10 measures each, and how the disease went on after a year (Efron, Hastie, Johnstone,
Tibshirani, "Least Angle Regression", 2004). digits: 1,797 images of handwritten digits, 8 x 8 grey values each
(UCI, "Optical Recognition of Handwritten Digits", CC BY 4.0).
"""

import pathlib
import sys

import numpy
from sklearn import datasets


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    diabetes = datasets.load_diabetes()
    digits = datasets.load_digits()
    tables = {
        "diabetes_x": diabetes.data,
        "diabetes_y": diabetes.target,
        "digits_x": digits.data,
    }
    for name, table in tables.items():
        numpy.save(folder / f"{name}.npy", table.astype(numpy.float64))
        print(f"{folder / name}.npy: {' x '.join(map(str, table.shape))}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])

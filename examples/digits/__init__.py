"""The digits demo's data and model, and the scripts that made them.

python -m examples.digits.make_images   scikit-learn's 1,797 digits → pipeline/embedded/data/digits/images.zip
python -m examples.digits.train         images.zip → pipeline/embedded/data/digits/model/1/ (a SavedModel)
"""

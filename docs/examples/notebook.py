"""place-bench from Python, cell by cell (docs/python.md shows this file, and a test runs it)."""

# %% Run every missing cell, as `place-bench run siim_cls --backbones random --no-frame` does.
import bench

outcome = bench.run("siim_cls", ["random"], fractions=[1.0], seeds=[0, 1], frame=False)

# %% The leaderboard as a data frame: a row per encoder and share of the training labels.
table = outcome.table("siim_cls")
print(table[["encoder", "label_fraction", "value", "low", "high", "seeds", "n_images"]])

# %% By another metric; and everything that is known of every cell.
print(outcome.table("siim_cls", metric="auprc")[["encoder", "value"]])
print([(record["seed"], record["metric:auroc"]) for record in outcome.records])

# %% What was predicted for every test image.
predictions = outcome.predictions(outcome.records[0])
print(predictions.table.head())

# %% Is a difference real? Every pair of rows, on the same resamples of patients.
print(bench.compare("siim_cls"))

# %% An encoder and a dataset by themselves.
encoder = bench.load_backbone("random")
images = bench.load_dataset("siim", size=encoder.input.resize)
print(encoder.architecture, len(images), images.images(slice(0, 2)).shape, images.masks([0]).shape)

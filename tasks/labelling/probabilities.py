"""The file in which probabilities of classes come from elsewhere. Light to import."""

from bench.contracts import Body, SubmissionForm

PROBABILITIES = SubmissionForm(
    name="predictions",
    path="FILE.csv",
    suffix=".csv",
    help="A CSV with the column image_id and one column of probabilities per class, by its name.",
    read=Body("tasks.labelling.submitted:read"),
    write=Body("tasks.labelling.submitted:write"),
    thresholds="The probability above which an image is said to have a class.",
)

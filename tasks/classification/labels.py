"""Names of before there was `tasks.labelling`."""

from tasks.labelling.subgroups import groups
from tasks.labelling.targets import check_trainable, few_shot, raw_labels, targets
from tasks.labelling.views import keep_views

__all__ = ["check_trainable", "few_shot", "groups", "keep_views", "raw_labels", "targets"]

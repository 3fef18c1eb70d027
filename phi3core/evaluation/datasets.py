"""A version of a prompt set as an MLflow evaluation dataset, so that MLflow's own pages show it.

MLflow's datasets have no versions, their names are not unique, and equal inputs become one record. So each version is a
dataset of its own, named and tagged by its digest, and the inputs of a record hold the item's id. What is read back has
the same digest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phi3core import tags
from phi3core.settings import Settings
from phi3core.store.client import experiment_id, mlflow_client, translate_errors

from .items import Item, digest_of, parse_item

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_UNKNOWN = ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "FEATURE_DISABLED")  # says a store that keeps no datasets
_DIGEST = 36  # digits that MLflow keeps of the digest of a run's dataset


def publish(settings: Settings, ref: str, digest: str, items: Sequence[Item]) -> str:
    """Have the store keep a version as a dataset; one that is there already, whole, is left as it is.

    Args:
        ref, digest: of the version.

    Returns:
        The dataset's id; empty where the store keeps no evaluation datasets.

    Raises:
        StoreDown: the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    store, home = mlflow_client(settings), experiment_id(settings, tags.EVALUATIONS)
    with translate_errors(settings):
        try:
            of_it = f"name = '{ref}' AND tags.{tags.DIGEST} = '{digest}'"  # other sets may hold the same
            same = store.search_datasets([home], of_it, max_results=1)
            if not same:
                made = store.create_dataset(ref, [home], {tags.PROMPT_SET: ref, tags.DIGEST: digest})
            dataset = same[0] if same else made
            if json.loads(dataset.profile or "{}").get("num_records") != len(items):  # or it was not written whole
                dataset.merge_records([_record(at, item) for at, item in enumerate(items)])
        except MlflowException as error:
            if error.error_code in _UNKNOWN:
                return ""
            raise
        except NotImplementedError:
            return ""
        return str(dataset.dataset_id)


def read_items(settings: Settings, dataset_id: str) -> tuple[list[Item], str]:
    """The items that a dataset holds, in the order of their numbers, and their digest. Raises BadInput for others."""
    with translate_errors(settings):
        records = mlflow_client(settings).get_dataset(dataset_id).records
    found = sorted(records, key=lambda record: int((record.tags or {}).get(tags.ITEM, 0)))
    items = [
        parse_item(
            {**record.inputs, "expectations": record.expectations or {}, "tags": json.loads(record.tags[tags.ITEMS])},
            f"Record {number}",
            number,
        )
        for number, record in enumerate(found, start=1)
    ]
    return items, digest_of(items)


def run_input(ref: str, digest: str, dataset_id: str) -> DatasetInput:
    """The version as the input of a run, by which MLflow's pages lead from the run to the dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"dataset_id": dataset_id})
    kind = "mlflow_evaluation_dataset" if dataset_id else "phi3"
    dataset = Dataset(ref, digest[:_DIGEST], kind, source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "eval")])


def _record(at: int, item: Item) -> dict[str, Any]:
    inputs = {"id": item.id, "messages": [*item.messages]}
    # A dataset has no order of its own.
    tag_values = {tags.ITEM: str(at), tags.ITEMS: json.dumps(item.tags)}
    return {"inputs": inputs, "expectations": item.expectations, "tags": tag_values}

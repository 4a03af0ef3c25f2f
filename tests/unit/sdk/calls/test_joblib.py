"""joblib, and what is built on it, on the platform."""

from __future__ import annotations

import gridloom.joblib
import joblib
import numpy as np
import pytest
from gridloom.errors import InvalidRequestError
from joblib import Parallel, delayed


def square(x):
    return x * x


def fail(x):
    raise KeyError(x)


@pytest.mark.usefixtures("client")
def test_tasks_of_joblib_run_as_calls(service):
    with joblib.parallel_config(backend="gridloom"):
        assert Parallel(n_jobs=2)(delayed(square)(n) for n in range(30)) == [
            n * n for n in range(30)
        ]
    assert service.runs


@pytest.mark.usefixtures("client")
def test_results_may_come_as_a_generator():
    with joblib.parallel_config(backend="gridloom"):
        results = Parallel(n_jobs=2, return_as="generator")(delayed(square)(n) for n in range(9))
        assert list(results) == [n * n for n in range(9)]


@pytest.mark.usefixtures("client")
def test_a_task_s_error_is_raised():
    with joblib.parallel_config(backend="gridloom"), pytest.raises(KeyError):
        Parallel(n_jobs=2)(delayed(fail)(n) for n in range(5))


def test_options_of_calls_and_a_pool_may_be_given(client, service):
    with client.pool(workers=3) as pool:
        with joblib.parallel_config(backend="gridloom", pool=pool, retries=1):
            assert Parallel(n_jobs=-1)(delayed(square)(n) for n in range(5))[-1] == 16
        backend = gridloom.joblib.GridloomBackend(pool=pool)
        assert backend.effective_n_jobs(-1) == 3
        assert backend.effective_n_jobs(2) == 2
        with pytest.raises(InvalidRequestError):
            backend.effective_n_jobs(0)
    assert {spec.pool_id for spec in service.session().specs.values()} == {pool.id}


@pytest.mark.usefixtures("client")
def test_a_large_array_that_tasks_share_is_stored_once(service):
    data = np.arange(100_000, dtype=float)
    with joblib.parallel_config(backend="gridloom"):
        total = Parallel(n_jobs=2, batch_size=1)(delayed(np.sum)(data) for _ in range(6))
    assert total == [data.sum()] * 6
    assert sum(len(stored) > data.nbytes for stored in service.objects.stored.values()) <= 1
    assert all(len(c.arguments) < 10_000 for c in service.session().calls.values())


@pytest.mark.usefixtures("client")
def test_grid_search_runs_on_the_platform(service):
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    features, labels = load_iris(return_X_y=True)
    search = GridSearchCV(SVC(), {"C": [0.1, 1.0], "gamma": [0.1, 1.0]}, cv=3, n_jobs=-1)
    with joblib.parallel_config(backend="gridloom"):
        search.fit(features, labels)
    assert search.best_score_ > 0.9
    assert service.runs

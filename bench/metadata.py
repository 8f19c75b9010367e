"""Metadata to measure with: the same jobs as our files and as the peer's, ten jobs a file, five tasks a job."""

from __future__ import annotations

from pathlib import Path

TASKS = 5
JOBS_IN_A_FILE = 10


def write_ours(folder: Path, jobs: int) -> None:
    """Files in our format: a stage a task."""
    for path, names in _files(folder, jobs):
        lines = ['metadata_version: "1.0"', "modules:"]
        for name in names:
            lines += [f"  - module_name: {name}", "    sources:"]
            for task in range(TASKS):
                lines += [
                    f"      - source_id: task_{task}",
                    "        source_type: notebook",
                    f"        execution_order: {task + 1}",
                    "        transformation_config:",
                    "          task_type: notebook",
                    f"          notebook_path: /Workspace/pipelines/{name}/task_{task}",
                ]
        path.write_text("\n".join(lines) + "\n")


def write_peers(folder: Path, jobs: int) -> None:
    """The same jobs in the peer's format: each task depends on the one before."""
    for path, names in _files(folder, jobs):
        lines = ["jobs:"]
        for name in names:
            lines += [f"  {name}:", "    tasks:"]
            for task in range(TASKS):
                lines += [
                    f"      - task_key: task_{task}",
                    "        task_type: notebook",
                    f"        file_path: /Workspace/pipelines/{name}/task_{task}",
                ]
                if task:
                    lines.append(f"        depends_on: [task_{task - 1}]")
        path.write_text("\n".join(lines) + "\n")


def change_one(folder: Path, number: int = 1) -> None:
    """Another notebook for one task of one job; `number` makes it another one each time."""
    path = min(folder.iterdir())
    text = path.read_text()
    lines = text.splitlines()
    place = next(index for index, line in enumerate(lines) if "/task_0" in line)
    lines[place] = lines[place].split("/task_0")[0] + f"/task_0_changed_{number}"
    path.write_text("\n".join(lines) + "\n")


def _files(folder: Path, jobs: int) -> list[tuple[Path, list[str]]]:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"job_{number:05}" for number in range(jobs)]
    return [
        (folder / f"jobs_{start // JOBS_IN_A_FILE:04}.yaml", names[start : start + JOBS_IN_A_FILE])
        for start in range(0, jobs, JOBS_IN_A_FILE)
    ]

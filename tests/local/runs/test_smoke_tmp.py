from .conftest import *
def test_all(workspace):
    w = workspace
    w.file("/Workspace/a/main.py", "import sys\nprint('hello', sys.argv[1:])\nprint(open('/Volumes/main/x/v/f.txt').read())\ndbutils.jobs.taskValues.set('k', [1,2])\n")
    w.file("/Volumes/main/x/v/f.txt", "content!")
    w.file("/Workspace/a/bad.py", "def f():\n  raise ValueError('boom')\nf()\n")
    w.file("/Workspace/a/nb.py", "# Databricks notebook source\n# MAGIC %md\n# MAGIC # Title\n\n# COMMAND ----------\ndbutils.widgets.text('p','d')\nprint(dbutils.widgets.get('p'))\n\n# COMMAND ----------\nx=dbutils.jobs.taskValues.get('py','k')\n\n# COMMAND ----------\n\ndbutils.notebook.exit('v%s'%x)\n\n# COMMAND ----------\nraise ValueError()\n")
    run = w.run([
      python_task("py", "/Workspace/a/main.py", "{{job.id}}", "{{x.y}}"),
      python_task("bad", "/Workspace/a/bad.py", max_retries=1),
      {"task_key":"nb","notebook_task":{"notebook_path":"/a/nb","base_parameters":{"p":"{{tasks.py.values.k}}"}},"depends_on":after("py")},
      condition("c","{{tasks.py.values.k}}","[1, 2]",depends_on=after("py")),
      {"task_key":"pl","pipeline_task":{"pipeline_id":"x"}},
    ])
    import json
    print(json.dumps(run, indent=1))
    for k in ("py","bad","nb","pl"):
        print(json.dumps({a:b for a,b in w.output(run,k).items() if a!="metadata"}, indent=1))
    assert 0

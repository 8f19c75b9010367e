"""Deployment: getting the product into a workspace, keeping it there, taking it out, saying what is wrong.

What lives here: what was asked for (`request`), the monitor's jobs as rows (`monitor_jobs`), the wheel
(`wheel`), what was made and has to be unmade (`ledger`), the services `deploy` and `destroy`, and the
diagnosis (`doctor` and its parts) with the command that mends (`command`).

What may not live here: another way to write jobs. The monitor's jobs are modules like any others, of a
control table of their own that exists in memory only, `<control table>_deployment`: the orchestrator
plans and applies them with tags, claims, records and drift as everything else. They are no rows of the
control table itself, because then the monitor would be under its own control: an edit of the table, or
a table emptied by mistake, would pause or change the very job that has to notice. Nothing here prints
or asks; the command line does.
"""

import pytest, uuid
from datetime import datetime, timezone, timedelta
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.metadata.rows import Row
from dataclasses import replace
import time
def test_it(tables, control_name, sail):
    t=ControlTable(tables, control_name)
    assert not t.exists()
    assert t.ensure() and not t.ensure()
    rows=[Row(f"s{i}","m'\"\\ \n😀%d"%(i%3),"sql",1,"{}",None,'{"a":"\'x\'"}',True) for i in range(10)]
    t.write(rows); n=tables.statements
    assert sorted(t.rows(),key=lambda r:r.source_id)==rows
    t.write([replace(rows[0],is_active=False)])
    assert tables.statements==n+2
    assert [r for r in t.rows([rows[0].module_name]) if r.source_id=="s0"][0].is_active is False
    assert len(t.rows([rows[0].module_name]))==4
    clock=[datetime(2026,1,1,tzinfo=timezone.utc)]
    r=JobRecords(tables, control_name,"ws1",lambda: clock[0])
    r2=JobRecords(tables, control_name,"ws2",lambda: clock[0])
    assert r.all()=={}
    r.insert({"a":"ja","b":""}); r.insert({"a":"","b":"","c":""}); r2.insert({"a":""})
    assert set(r.all())=={"a","b","c"} and set(r2.all())=={"a"}
    A,B=str(uuid.uuid4()),str(uuid.uuid4())
    assert set(r.claim(["a","b","zz"],A,60))=={"a","b"}
    assert set(r.claim(["a","b","c"],B,60))=={"c"}
    assert set(r2.claim(["a"],B,60))=={"a"}
    assert set(r.claim(["a","b"],A,60))=={"a","b"}
    clock[0]+=timedelta(seconds=59)
    assert set(r.claim(["a"],B,60))==set()
    clock[0]+=timedelta(seconds=2)
    assert set(r.claim(["a"],B,60))=={"a"}
    rec=JobRecord("a",job_id=2**40,job_name="x",definition={"k":["ü"]},applied=None,status="active",applied_at=clock[0])
    r.save([rec, replace(rec,module_name="b")],A)
    assert r.all()["a"].job_id is None and r.all()["b"].job_id==2**40
    assert r.all()["b"].claim==""
    r.save([rec],B,release=False)
    x=r.all()["a"]
    assert x.claim==B and replace(x,claim="",claimed_until=None)==rec
    r.release(["a"],A); assert r.all(["a"])["a"].claim==B
    r.release(["a"],B); assert r.all(["a"])["a"].claim==""

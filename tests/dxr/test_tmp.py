from tests.dxr.world import World
import pprint
def test_show(world: World):
    world.put("a/x.txt", "card 4111 1111 1111 1111 mail ana@example.org IBAN DE89370400440532013000")
    world.put("b/x.txt", "nothing here")
    print(world.run_once(views=True).as_json())
    pprint.pprint(world.found())
    pprint.pprint(world.checkpoints())
    pprint.pprint(world.jobs())
    pprint.pprint(world.logged)
    for v in ("v_file_metadata","v_sensitive_files","v_file_labels","v_source_files"):
        pprint.pprint(world.rows(v))
    pprint.pprint(world.submitted())
    assert 0

PRAGMA application_id = 1668047219;
PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE accuracies (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	measurement_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	mode VARCHAR NOT NULL, 
	accuracy DOUBLE NOT NULL, 
	clips INTEGER NOT NULL, 
	routed JSON NOT NULL, 
	UNIQUE (measurement_id, version_id, mode), 
	CONSTRAINT mode_known CHECK (mode IN ('oracle', 'auto')), 
	CONSTRAINT accuracy_fraction CHECK (accuracy BETWEEN 0 AND 1), 
	CONSTRAINT clips_counted CHECK (clips >= 0), 
	FOREIGN KEY(measurement_id) REFERENCES measurements (id) ON DELETE CASCADE, 
	FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
INSERT INTO "accuracies" VALUES(1,1,1,'oracle',0.5,4,'{}');
INSERT INTO "accuracies" VALUES(2,2,1,'auto',0.25,4,'{"2": 3, "1": 1, "among": 421709844501671}');
CREATE TABLE backbone (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	parameters INTEGER NOT NULL, 
	bytes INTEGER NOT NULL, 
	background BLOB NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_backbone CHECK (id = 1)
);
INSERT INTO "backbone" VALUES(1,'ast-mini','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',1000000,4000000,X'636F6E7374616E7473');
CREATE TABLE identity (
	id INTEGER NOT NULL, 
	registry_id VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_identity CHECK (id = 1)
);
INSERT INTO "identity" VALUES(1,'0f953c23c2a72e0b0a07787fcf652cba');
CREATE TABLE last_change (
	id INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	what VARCHAR NOT NULL, 
	created DATETIME NOT NULL, 
	undo VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_change CHECK (id = 1)
);
INSERT INTO "last_change" VALUES(1,'replace','replaced task birds by version 2','2026-11-27 16:10:33.511217','{"delta": {"put": {"tasks": [{"id": 1, "name": "birds", "key": "birds", "created": "2026-11-27T16:10:33.362927+00:00", "last_number": 1, "current_version_id": 1}]}, "drop": {"versions": [3]}}, "back": [], "away": ["21c48b04e35cdaf3dc6b7bf9d09363b5af767c4fe0f555165cbaec3acc943b45"]}');
CREATE TABLE measurements (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	after_version_id INTEGER, 
	created DATETIME NOT NULL, 
	FOREIGN KEY(after_version_id) REFERENCES versions (id) ON DELETE SET NULL
);
INSERT INTO "measurements" VALUES(1,1,'2026-11-27 16:10:33.393496');
INSERT INTO "measurements" VALUES(2,2,'2026-11-27 16:10:33.455021');
CREATE TABLE shared_parts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	method VARCHAR NOT NULL, 
	tasks JSON NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	bytes INTEGER NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT shared_sha256_length CHECK (length(sha256) = 64), 
	UNIQUE ("key"), 
	UNIQUE (sha256)
);
CREATE TABLE tasks (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	created DATETIME NOT NULL, 
	last_number INTEGER NOT NULL, 
	current_version_id INTEGER NOT NULL, 
	UNIQUE ("key"), 
	UNIQUE (current_version_id), 
	CONSTRAINT current FOREIGN KEY(current_version_id) REFERENCES versions (id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "tasks" VALUES(1,'birds','birds','2026-11-27 16:10:33.362927',2,3);
INSERT INTO "tasks" VALUES(2,'rain','rain','2026-11-27 16:10:33.435437',1,2);
CREATE TABLE versions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	task_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	backbone_id INTEGER NOT NULL, 
	method VARCHAR NOT NULL, 
	labels JSON NOT NULL, 
	adapter_sha256 VARCHAR(64) NOT NULL, 
	adapter_bytes INTEGER NOT NULL, 
	trainable_parameters INTEGER NOT NULL, 
	learned_accuracy DOUBLE, 
	seed INTEGER NOT NULL, 
	seconds DOUBLE NOT NULL, 
	source JSON NOT NULL, 
	data_fingerprint VARCHAR NOT NULL, 
	protocol VARCHAR NOT NULL, 
	packages JSON NOT NULL, 
	created DATETIME NOT NULL, 
	training JSON DEFAULT '{}' NOT NULL, 
	shared VARCHAR(64), 
	UNIQUE (task_id, number), 
	CONSTRAINT number_from_one CHECK (number > 0), 
	CONSTRAINT sha256_length CHECK (length(adapter_sha256) = 64), 
	FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE, 
	FOREIGN KEY(backbone_id) REFERENCES backbone (id), 
	UNIQUE (adapter_sha256), 
	FOREIGN KEY(shared) REFERENCES shared_parts (sha256)
);
INSERT INTO "versions" VALUES(1,1,1,1,'lora:qv,r=6','["dog", "rain"]','8351266eeb3a442131da84cfbaac03f868631d5a1991cb3bf36d11264d3058b9',1216,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-27 16:10:33.362927','{"epochs": 20, "learning_rate": 0.001, "stopped": null}',NULL);
INSERT INTO "versions" VALUES(2,2,1,1,'lora:qv,r=6','["dog", "rain"]','1d5b20832b84835460a46ee9865f627225b4d45bc5df1cc87f19c61435a101c9',1208,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-27 16:10:33.435437','{"epochs": 20, "learning_rate": 0.001, "stopped": null}',NULL);
INSERT INTO "versions" VALUES(3,1,2,1,'lora:qv,r=6','["owl", "wren"]','21c48b04e35cdaf3dc6b7bf9d09363b5af767c4fe0f555165cbaec3acc943b45',1216,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-27 16:10:33.491317','{"epochs": 20, "learning_rate": 0.001, "stopped": null}',NULL);
CREATE INDEX ix_measurements_after_version_id ON measurements (after_version_id);
CREATE INDEX ix_accuracies_version_id ON accuracies (version_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',2);
INSERT INTO "sqlite_sequence" VALUES('versions',3);
INSERT INTO "sqlite_sequence" VALUES('measurements',2);
INSERT INTO "sqlite_sequence" VALUES('accuracies',2);
COMMIT;

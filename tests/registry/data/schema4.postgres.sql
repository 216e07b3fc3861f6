SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.accuracies (
    id integer NOT NULL,
    measurement_id integer NOT NULL,
    version_id integer NOT NULL,
    mode character varying NOT NULL,
    accuracy double precision NOT NULL,
    clips integer NOT NULL,
    routed json NOT NULL,
    CONSTRAINT accuracy_fraction CHECK (((accuracy >= (0)::double precision) AND (accuracy <= (1)::double precision))),
    CONSTRAINT clips_counted CHECK ((clips >= 0)),
    CONSTRAINT mode_known CHECK (((mode)::text = ANY ((ARRAY['oracle'::character varying, 'auto'::character varying])::text[])))
);
CREATE SEQUENCE public.accuracies_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.accuracies_id_seq OWNED BY public.accuracies.id;
CREATE TABLE public.backbone (
    id integer NOT NULL,
    name character varying NOT NULL,
    fingerprint character varying NOT NULL,
    parameters bigint NOT NULL,
    bytes bigint NOT NULL,
    background bytea NOT NULL,
    CONSTRAINT one_backbone CHECK ((id = 1))
);
CREATE TABLE public.cl_ast_registry (
    schema_version integer NOT NULL
);
CREATE TABLE public.identity (
    id integer NOT NULL,
    registry_id character varying(32) NOT NULL,
    CONSTRAINT one_identity CHECK ((id = 1))
);
CREATE TABLE public.last_change (
    id integer NOT NULL,
    kind character varying NOT NULL,
    what character varying NOT NULL,
    created timestamp without time zone NOT NULL,
    undo character varying NOT NULL,
    CONSTRAINT one_change CHECK ((id = 1))
);
CREATE TABLE public.measurements (
    id integer NOT NULL,
    after_version_id integer,
    created timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.measurements_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.measurements_id_seq OWNED BY public.measurements.id;
CREATE TABLE public.shared_parts (
    id integer NOT NULL,
    name character varying NOT NULL,
    key character varying NOT NULL,
    method character varying NOT NULL,
    tasks json NOT NULL,
    sha256 character varying(64) NOT NULL,
    bytes bigint NOT NULL,
    created timestamp without time zone NOT NULL,
    CONSTRAINT shared_sha256_length CHECK ((length((sha256)::text) = 64))
);
CREATE SEQUENCE public.shared_parts_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.shared_parts_id_seq OWNED BY public.shared_parts.id;
CREATE TABLE public.tasks (
    id integer NOT NULL,
    name character varying NOT NULL,
    key character varying NOT NULL,
    created timestamp without time zone NOT NULL,
    last_number integer NOT NULL,
    current_version_id integer NOT NULL
);
CREATE SEQUENCE public.tasks_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.tasks_id_seq OWNED BY public.tasks.id;
CREATE TABLE public.versions (
    id integer NOT NULL,
    task_id integer NOT NULL,
    number integer NOT NULL,
    backbone_id integer NOT NULL,
    method character varying NOT NULL,
    labels json NOT NULL,
    adapter_sha256 character varying(64) NOT NULL,
    adapter_bytes bigint NOT NULL,
    trainable_parameters bigint NOT NULL,
    learned_accuracy double precision,
    seed bigint NOT NULL,
    seconds double precision NOT NULL,
    source json NOT NULL,
    data_fingerprint character varying NOT NULL,
    protocol character varying NOT NULL,
    packages json NOT NULL,
    created timestamp without time zone NOT NULL,
    training json DEFAULT '{}'::json NOT NULL,
    shared character varying(64),
    CONSTRAINT number_from_one CHECK ((number > 0)),
    CONSTRAINT sha256_length CHECK ((length((adapter_sha256)::text) = 64))
);
CREATE SEQUENCE public.versions_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.versions_id_seq OWNED BY public.versions.id;
ALTER TABLE ONLY public.accuracies ALTER COLUMN id SET DEFAULT nextval('public.accuracies_id_seq'::regclass);
ALTER TABLE ONLY public.measurements ALTER COLUMN id SET DEFAULT nextval('public.measurements_id_seq'::regclass);
ALTER TABLE ONLY public.shared_parts ALTER COLUMN id SET DEFAULT nextval('public.shared_parts_id_seq'::regclass);
ALTER TABLE ONLY public.tasks ALTER COLUMN id SET DEFAULT nextval('public.tasks_id_seq'::regclass);
ALTER TABLE ONLY public.versions ALTER COLUMN id SET DEFAULT nextval('public.versions_id_seq'::regclass);
INSERT INTO public.accuracies VALUES (1, 1, 1, 'oracle', 0.5, 4, '{}');
INSERT INTO public.accuracies VALUES (2, 2, 1, 'auto', 0.25, 4, '{"2": 3, "1": 1, "among": 421709844501671}');
INSERT INTO public.backbone VALUES (1, 'ast-mini', 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 1000000, 4000000, '\x636f6e7374616e7473');
INSERT INTO public.cl_ast_registry VALUES (4);
INSERT INTO public.identity VALUES (1, '11a7dbcbd78cbea8535dbd1d00343099');
INSERT INTO public.last_change VALUES (1, 'replace', 'replaced task birds by version 2', '2026-11-27 16:10:34.413052', '{"delta": {"put": {"tasks": [{"id": 1, "name": "birds", "key": "birds", "created": "2026-11-27T16:10:34.185794+00:00", "last_number": 1, "current_version_id": 1}]}, "drop": {"versions": [3]}}, "back": [], "away": ["442bfd98ee75f156f8b6373171db69558ccc437dfab6c94a6a9f2af37b1be2d0"]}');
INSERT INTO public.measurements VALUES (1, 1, '2026-11-27 16:10:34.206037');
INSERT INTO public.measurements VALUES (2, 2, '2026-11-27 16:10:34.330339');
INSERT INTO public.tasks VALUES (2, 'rain', 'rain', '2026-11-27 16:10:34.259971', 1, 2);
INSERT INTO public.tasks VALUES (1, 'birds', 'birds', '2026-11-27 16:10:34.185794', 2, 3);
INSERT INTO public.versions VALUES (1, 1, 1, 1, 'lora:qv,r=6', '["dog", "rain"]', 'a98ff52c8ccfb41727991e4ed0dc85d9a7ad201e88ed1580682a63b71696df31', 1216, 64, 0.9, 7, 1.5, '{"folder": "clips", "fold": 5}', 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', 'fold 5', '{"torch": "2.11.0"}', '2026-11-27 16:10:34.185794', '{"epochs": 20, "learning_rate": 0.001, "stopped": null}', NULL);
INSERT INTO public.versions VALUES (2, 2, 1, 1, 'lora:qv,r=6', '["dog", "rain"]', '1c41213f99d66886e55bb3ff01b9aa41b27403a808228201801eca747cf25469', 1208, 64, 0.9, 7, 1.5, '{"folder": "clips", "fold": 5}', 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', 'fold 5', '{"torch": "2.11.0"}', '2026-11-27 16:10:34.259971', '{"epochs": 20, "learning_rate": 0.001, "stopped": null}', NULL);
INSERT INTO public.versions VALUES (3, 1, 2, 1, 'lora:qv,r=6', '["owl", "wren"]', '442bfd98ee75f156f8b6373171db69558ccc437dfab6c94a6a9f2af37b1be2d0', 1216, 64, 0.9, 7, 1.5, '{"folder": "clips", "fold": 5}', 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', 'fold 5', '{"torch": "2.11.0"}', '2026-11-27 16:10:34.382084', '{"epochs": 20, "learning_rate": 0.001, "stopped": null}', NULL);
SELECT pg_catalog.setval('public.accuracies_id_seq', 2, true);
SELECT pg_catalog.setval('public.measurements_id_seq', 2, true);
SELECT pg_catalog.setval('public.shared_parts_id_seq', 1, false);
SELECT pg_catalog.setval('public.tasks_id_seq', 2, true);
SELECT pg_catalog.setval('public.versions_id_seq', 3, true);
ALTER TABLE ONLY public.accuracies
    ADD CONSTRAINT accuracies_measurement_id_version_id_mode_key UNIQUE (measurement_id, version_id, mode);
ALTER TABLE ONLY public.accuracies
    ADD CONSTRAINT accuracies_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.backbone
    ADD CONSTRAINT backbone_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.identity
    ADD CONSTRAINT identity_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.last_change
    ADD CONSTRAINT last_change_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT measurements_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.shared_parts
    ADD CONSTRAINT shared_parts_key_key UNIQUE (key);
ALTER TABLE ONLY public.shared_parts
    ADD CONSTRAINT shared_parts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.shared_parts
    ADD CONSTRAINT shared_parts_sha256_key UNIQUE (sha256);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_current_version_id_key UNIQUE (current_version_id);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_key_key UNIQUE (key);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_adapter_sha256_key UNIQUE (adapter_sha256);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_task_id_number_key UNIQUE (task_id, number);
CREATE INDEX ix_accuracies_version_id ON public.accuracies USING btree (version_id);
CREATE INDEX ix_measurements_after_version_id ON public.measurements USING btree (after_version_id);
ALTER TABLE ONLY public.accuracies
    ADD CONSTRAINT accuracies_measurement_id_fkey FOREIGN KEY (measurement_id) REFERENCES public.measurements(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.accuracies
    ADD CONSTRAINT accuracies_version_id_fkey FOREIGN KEY (version_id) REFERENCES public.versions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT current FOREIGN KEY (current_version_id) REFERENCES public.versions(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT measurements_after_version_id_fkey FOREIGN KEY (after_version_id) REFERENCES public.versions(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_backbone_id_fkey FOREIGN KEY (backbone_id) REFERENCES public.backbone(id);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_shared_fkey FOREIGN KEY (shared) REFERENCES public.shared_parts(sha256);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;
